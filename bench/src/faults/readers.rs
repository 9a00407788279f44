//! Readers that notice a stale answer: one for each member, which it asks over and over.
//!
//! A linearizable read shows at least what was acknowledged before it was sent, so the revision in
//! its answer is at least the highest that any acknowledged put had got by then.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use raftery_proto::etcdserverpb::RangeRequest;
use tokio::task::JoinSet;

use crate::wire::Connection;

/// Between an answer and the next read.
const PAUSE: Duration = Duration::from_millis(5);

/// Readers at work, until dropped.
pub struct Readers {
    counts: Rc<Counts>,
    _work: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    answered: Cell<u64>,
    stale: Cell<u64>,
}

impl Readers {
    /// They begin. `acknowledged` is the highest revision of an acknowledged put so far.
    #[must_use]
    pub fn start(endpoints: &[String], deadline: Duration, acknowledged: &Rc<Cell<i64>>) -> Self {
        let counts = Rc::new(Counts::default());
        let mut work = JoinSet::new();
        for endpoint in endpoints {
            let reader = Reader {
                endpoint: endpoint.clone(),
                deadline,
                acknowledged: Rc::clone(acknowledged),
                counts: Rc::clone(&counts),
            };
            work.spawn_local(reader.read());
        }
        Self {
            counts,
            _work: work,
        }
    }

    /// Stale answers since the last call, and all answers.
    #[must_use]
    pub fn take(&self) -> (u64, u64) {
        (self.counts.stale.take(), self.counts.answered.take())
    }
}

struct Reader {
    endpoint: String,
    deadline: Duration,
    acknowledged: Rc<Cell<i64>>,
    counts: Rc<Counts>,
}

impl Reader {
    async fn read(self) {
        let mut connection = None;
        loop {
            let before = self.acknowledged.get();
            let asked = ask(&mut connection, &self.endpoint);
            match tokio::time::timeout(self.deadline, asked).await {
                Ok(Ok(revision)) => {
                    let counts = &self.counts;
                    counts.answered.set(counts.answered.get() + 1);
                    counts
                        .stale
                        .set(counts.stale.get() + u64::from(revision < before));
                }
                Ok(Err(_)) | Err(_) => connection = None,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn ask(connection: &mut Option<Connection>, endpoint: &str) -> Result<i64> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(endpoint).await?),
    };
    let request = RangeRequest {
        key: "stale?".into(),
        ..Default::default()
    };
    let answer = open.range(&request).await?;
    Ok(answer.header.unwrap_or_default().revision)
}
