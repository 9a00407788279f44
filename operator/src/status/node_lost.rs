//! `NodeLost`: a pod can't end because its machine is lost. Only there when it is so.

use super::Inputs;
use super::conditions::Verdict;

pub(super) fn condition(inputs: &Inputs<'_>) -> Option<Verdict> {
    let pod = inputs.view.lost_pod()?;
    let message = format!(
        "pod {pod} can't end because its machine is lost; nothing is begun until the machine is \
         back, deleted from Kubernetes, or tainted node.kubernetes.io/out-of-service"
    );
    Some(Verdict::yes("PodStuckTerminating", message))
}
