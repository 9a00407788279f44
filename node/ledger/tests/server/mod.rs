//! The MongoDB server of the tests: a stand-in that speaks the wire protocol, on loopback, with
//! its data in a directory of its own. It is started with `--sync-on-commit`, without which it
//! ignores `j: true`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use raftery_rig::ports::free_port;

/// How long the server may take until it accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server; ends when dropped.
pub(crate) struct MongoServer {
    child: Child,
    port: u16,
    data: tempfile::TempDir,
}

impl MongoServer {
    /// Starts a blank server on a free port.
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = spawn(port, data.path(), &[]);
        Self { child, port, data }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it if it runs, and starts it again with the same data and port.
    pub(crate) fn restart_with(&mut self, flags: &[&str]) {
        self.kill();
        self.child = spawn(self.port, self.data.path(), flags);
    }

    /// Stops it from answering; its connections stay open.
    pub(crate) fn freeze(&mut self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&mut self) {
        self.signal("-CONT");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for MongoServer {
    fn drop(&mut self) {
        // A process that is gone already can't be killed; both are fine here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, data: &Path, flags: &[&str]) -> Child {
    let mut child = Command::new(binary())
        .args([
            "--port",
            &port.to_string(),
            "--cache-size",
            "256M",
            "--sync-on-commit",
        ])
        .arg("--storage-path")
        .arg(data)
        .args(["--log-level", "ERROR"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the MongoDB server ended at its start"
        );
        assert!(
            start.elapsed() < START_TIMEOUT,
            "the MongoDB server didn't start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// `RAFTERY_SECANTUS`, else the newest in the project's cache.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("RAFTERY_SECANTUS") {
        return PathBuf::from(path);
    }
    let cache = std::env::var_os("RAFTERY_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache").join("raftery"))
        });
    let entries = cache
        .iter()
        .filter_map(|cache| std::fs::read_dir(cache).ok())
        .flatten();
    let is_secantus = |name: &std::ffi::OsStr| {
        name.to_str()
            .is_some_and(|name| name.starts_with("secantus"))
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_secantus(&entry.file_name()))
        .map(|entry| entry.path().join("bin").join("secantusd-rs"))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop().expect(
        "no MongoDB server for the tests: `make test` provides one; or name a secantusd-rs in \
         RAFTERY_SECANTUS",
    )
}
