//! Asks every member over and over who leads.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::record::Leaders;
use crate::wire::Connection;

/// Between an answer and the next question: the resolution of "another leader".
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A member without an answer after so long says nothing.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a member said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Itself.
    pub member: u64,
    /// Whom it takes for the leader; 0: nobody.
    pub leader: u64,
    /// In which term.
    pub term: u64,
}

/// Looks until it is dropped.
pub struct Watcher {
    seen: Rc<RefCell<Seen>>,
    _looks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    views: Vec<Option<View>>,
    leaders: Leaders,
}

impl Watcher {
    /// Begins to look. Times count from `began`.
    #[must_use]
    pub fn start(endpoints: &[String], began: Instant) -> Self {
        let seen = Rc::new(RefCell::new(Seen {
            views: vec![None; endpoints.len()],
            leaders: Leaders::default(),
        }));
        let mut looks = JoinSet::new();
        for (place, endpoint) in endpoints.iter().enumerate() {
            looks.spawn_local(look(Rc::clone(&seen), place, endpoint.clone(), began));
        }
        Self {
            seen,
            _looks: looks,
        }
    }

    /// Who led when.
    pub fn leaders(&self) -> Ref<'_, Leaders> {
        Ref::map(self.seen.borrow(), |seen| &seen.leaders)
    }

    /// What members say now, in their order.
    #[must_use]
    pub fn views(&self) -> Vec<Option<View>> {
        self.seen.borrow().views.clone()
    }

    /// The place of the member that leads, if all answer and agree.
    #[must_use]
    pub fn agreed(&self) -> Option<usize> {
        agreed(&self.seen.borrow().views)
    }
}

fn agreed(views: &[Option<View>]) -> Option<usize> {
    let all: Option<Vec<View>> = views.iter().copied().collect();
    let all = all?;
    let first = all.first()?;
    let agree = |view: &View| (view.leader, view.term) == (first.leader, first.term);
    let leads = |view: &View| view.member == first.leader;
    all.iter().all(agree).then(|| all.iter().position(leads))?
}

async fn look(seen: Rc<RefCell<Seen>>, place: usize, endpoint: String, began: Instant) {
    let mut connection = None;
    let mut last = (None, Duration::ZERO);
    loop {
        let asked = tokio::time::timeout(PATIENCE, ask(&mut connection, &endpoint)).await;
        let view = asked.ok().and_then(Result::ok);
        if view != last.0 {
            last = (view, began.elapsed());
        } else if let Some(view) = view.filter(|view| view.leader != 0) {
            // Said twice: etcd may name a new term together with the leader of the one before.
            let mut seen = seen.borrow_mut();
            seen.leaders.note(view.term, view.leader, last.1);
        }
        seen.borrow_mut().views[place] = view;
        if view.is_none() {
            connection = None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn ask(connection: &mut Option<Connection>, endpoint: &str) -> Result<View> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(endpoint).await?),
    };
    let status = open.status().await?;
    let header = status.header.unwrap_or_default();
    Ok(View {
        member: header.member_id,
        leader: status.leader,
        term: status.raft_term,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(member: u64, leader: u64, term: u64) -> Option<View> {
        Some(View {
            member,
            leader,
            term,
        })
    }

    #[test]
    fn members_agree_if_all_name_the_same_leader_in_the_same_term() {
        assert_eq!(
            agreed(&[view(7, 8, 2), view(8, 8, 2), view(9, 8, 2)]),
            Some(1)
        );
        assert_eq!(agreed(&[view(7, 8, 2), view(8, 8, 3), view(9, 8, 2)]), None);
        assert_eq!(agreed(&[view(7, 8, 2), None, view(9, 8, 2)]), None);
        assert_eq!(agreed(&[view(7, 0, 2), view(8, 0, 2), view(9, 0, 2)]), None);
    }
}
