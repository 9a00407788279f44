//! Where the programs are that tests and demo run, and how long tests may take.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Whether tests that have a short and a long form take the long one: `make soak` asks for it.
#[must_use]
pub fn is_soak() -> bool {
    std::env::var_os("RAFTERY_SOAK").is_some_and(|value| value == "1")
}

/// The node, as an executable.
pub fn node() -> Result<PathBuf> {
    built("raftery-node")
}

/// The client command.
pub fn raftery() -> Result<PathBuf> {
    built("raftery")
}

/// The file system with faults.
pub fn slowfs() -> Result<PathBuf> {
    built("slowfs")
}

fn built(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os("RAFTERY_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => build_directory()?,
    };
    existing(
        directory.join(name),
        "`make test` builds it; by hand: hack/build.sh, then set RAFTERY_BIN_DIR",
    )
}

/// One of the pinned Go programs: `etcdctl`, `kubectl`, `helm`.
pub fn tool(name: &str) -> Result<PathBuf> {
    let directory = std::env::var_os("RAFTERY_TOOLS").context(
        "RAFTERY_TOOLS is not set (the directory of etcdctl, kubectl and helm): `make test` \
         sets it; by hand: RAFTERY_TOOLS=$(hack/tools/build.sh)",
    )?;
    existing(
        Path::new(&directory).join(name),
        "`make test` builds it; by hand: hack/tools/build.sh",
    )
}

/// The MongoDB stand-in of the tests.
pub fn mongodb_stand_in() -> Result<PathBuf> {
    let path = std::env::var_os("RAFTERY_SECANTUS").context(
        "RAFTERY_SECANTUS is not set (the MongoDB stand-in): `make test` sets it; by hand: \
         RAFTERY_SECANTUS=$(hack/tools/mongodb-standin.sh)",
    )?;
    existing(
        PathBuf::from(path),
        "`make test` installs it; by hand: hack/tools/mongodb-standin.sh",
    )
}

/// The kubeconfig of the development cluster, or of another if that was asked for.
pub fn kubeconfig() -> Result<PathBuf> {
    let path = std::env::var_os("KUBECONFIG").context(
        "KUBECONFIG is not set: start the development cluster with `make devcluster-up` and \
         run this by hack/devcluster/run",
    )?;
    existing(PathBuf::from(path), "`make devcluster-up` writes it")
}

/// The directory of a file or directory of the checkout.
#[must_use]
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the checkout")
        .join(path)
}

fn existing(path: PathBuf, remedy: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing: {remedy}", path.display());
    }
    Ok(path)
}

/// Tests lie in `release/deps`, the demo in `release`; the other programs in `release`.
fn build_directory() -> Result<PathBuf> {
    let own = std::env::current_exe().context("path of this program")?;
    let directory = own.parent().context("this program lies in no directory")?;
    if directory.ends_with("deps") {
        return Ok(directory
            .parent()
            .context("deps lies in no directory")?
            .to_owned());
    }
    Ok(directory.to_owned())
}
