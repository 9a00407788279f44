//! A readable account of a run, for whoever asks for one.

use std::fmt;

use raftery_raft::{Instant, MessageBody, PeerMessage};

/// Takes the account line by line; the time is simulated.
pub type Listener<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

pub(crate) struct Trace<'a>(pub(crate) Option<Listener<'a>>);

impl Trace<'_> {
    pub(crate) fn say(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        if let Some(listener) = &mut self.0 {
            let micros = now.0.as_micros();
            listener(format_args!(
                "{:>6}.{:06}  {what}",
                micros / 1_000_000,
                micros % 1_000_000
            ));
        }
    }
}

impl fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.0.is_some()).finish()
    }
}

impl Trace<'_> {
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// A message in one line.
pub(crate) struct Line<'a>(pub(crate) &'a PeerMessage);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeerMessage {
            from,
            to,
            term,
            body,
        } = self.0;
        write!(f, "{from}→{to} t{term} ")?;
        match body {
            MessageBody::Append {
                prev,
                entries,
                commit,
            } => match (entries.first(), entries.last()) {
                (Some(first), Some(last)) => {
                    let (first, last) = (first.id, last.id);
                    write!(f, "Append {first}..{last} after {prev}, commit {commit}")
                }
                _ => write!(f, "Append nothing after {prev}, commit {commit}"),
            },
            body => write!(f, "{body:?}"),
        }
    }
}
