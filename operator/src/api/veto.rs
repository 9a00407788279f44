//! The annotation with which a person keeps the operator's hands off slow members.

use std::collections::BTreeSet;

/// The annotation on the RaftCluster: `true`, or names of pods, separated by commas.
pub const VETO_FAIL_SLOW: &str = "raftery.dev/veto-fail-slow";

/// Slow members that nothing is done about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Veto {
    /// There is no veto.
    #[default]
    None,
    /// All.
    All,
    /// Those in these pods.
    Pods(BTreeSet<String>),
}

impl Veto {
    /// Reads the annotation. Annotations have no schema, so what looks like no name of a pod is
    /// taken for a veto on everything: doing nothing is the safe side.
    pub(super) fn parse(text: &str) -> Self {
        let words = text.split(',').map(str::trim);
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] | ["false"] => Self::None,
            pods if pods.iter().all(|word| is_pod_name(word)) => {
                Self::Pods(pods.iter().map(|pod| (*pod).to_owned()).collect())
            }
            _ => Self::All,
        }
    }

    /// Whether it holds for the member in this pod.
    pub fn covers(&self, pod: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Pods(pods) => pods.contains(pod),
        }
    }
}

/// A name, a dash, an ordinal.
fn is_pod_name(word: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    word.rsplit_once('-').is_some_and(|(name, ordinal)| {
        !name.is_empty()
            && name.bytes().all(is_name)
            && !ordinal.is_empty()
            && ordinal.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veto_is_for_all_or_for_the_pods_that_it_names() {
        for (text, demo_0, demo_1) in [
            ("", false, false),
            ("false", false, false),
            ("true", true, true),
            ("demo-1", false, true),
            (" demo-1 ,demo-0,", true, true),
            ("other-7", false, false),
            // Meant as a veto, whatever was meant.
            ("yes", true, true),
            ("demo-1 demo-0", true, true),
            ("demo-1;demo-0", true, true),
            ("demo-1,all", true, true),
        ] {
            let veto = Veto::parse(text);
            let covers = (veto.covers("demo-0"), veto.covers("demo-1"));
            assert_eq!(covers, (demo_0, demo_1), "{text:?}");
        }
    }
}
