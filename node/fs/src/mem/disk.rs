//! What is on the disk of a [`super::MemFs`], and what only seems to be.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use super::faults::Fault;
use super::{Fate, Piece};

/// Written as a whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// By number; the first is the root.
    pub(super) nodes: Vec<Node>,
    /// Counts crashes.
    pub(super) life: u64,
    pub(super) operations: u64,
    pub(super) syncs: u64,
    pub(super) stop_at: Option<u64>,
    pub(super) fault: Option<Fault>,
    pub(super) fails_next_sync: bool,
    pub(super) capacity: Option<u64>,
    pub(super) lies: bool,
    pub(super) rng: fastrand::Rng,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Directory { live: Names, durable: Names },
    File(Data),
}

pub(super) type Names = BTreeMap<OsString, usize>;

#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Writes since the last sync, in order.
    pub(super) unsynced: Vec<Write>,
}

#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) operation: u64,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: vec![Node::directory()],
            life: 0,
            operations: 0,
            syncs: 0,
            stop_at: None,
            fault: None,
            fails_next_sync: false,
            capacity: None,
            lies: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Whether the process is dead.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop_at.is_some_and(|at| self.operations >= at)
    }

    /// Counts an operation that changes something, or refuses it.
    pub(super) fn operation(&mut self) -> io::Result<u64> {
        if self.has_stopped() {
            return Err(io::Error::other("the process died here"));
        }
        let operation = self.operations;
        self.operations += 1;
        match self.fault.and_then(|fault| fault.hits(operation)) {
            Some(kind) => Err(kind.into()),
            None => Ok(operation),
        }
    }

    /// Bytes in files that have a name.
    pub(super) fn used(&self) -> u64 {
        let mut bytes = 0;
        let mut directories = vec![0];
        while let Some(directory) = directories.pop() {
            let Node::Directory { live, .. } = &self.nodes[directory] else {
                continue;
            };
            for node in live.values() {
                match &self.nodes[*node] {
                    Node::Directory { .. } => directories.push(*node),
                    Node::File(data) => bytes += data.live.len() as u64,
                }
            }
        }
        bytes
    }

    /// Whether file `node` may become `len` bytes long.
    pub(super) fn check_space(&mut self, node: usize, len: usize) -> io::Result<()> {
        let grows = len.saturating_sub(self.data(node).live.len()) as u64;
        match self.capacity {
            Some(capacity) if grows > 0 && self.used() + grows > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn names(&mut self, node: usize) -> io::Result<(&mut Names, &mut Names)> {
        match &mut self.nodes[node] {
            Node::Directory { live, durable } => Ok((live, durable)),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Callers hold a node that they found or opened as a file.
    pub(super) fn data(&mut self, node: usize) -> &mut Data {
        match &mut self.nodes[node] {
            Node::File(data) => data,
            Node::Directory { .. } => panic!("a directory is used as a file"),
        }
    }

    pub(super) fn find(&mut self, path: &Path) -> io::Result<usize> {
        let mut node = 0;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let found = self.names(node)?.0.get(name).copied();
                node = found.ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    /// The names beside `path`, and its own.
    pub(super) fn place<'a>(&mut self, path: &'a Path) -> io::Result<(&mut Names, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let node = self.find(path.parent().unwrap_or(Path::new("")))?;
        Ok((self.names(node)?.0, name))
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let number = self.nodes.len();
        let (names, name) = self.place(path)?;
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.insert(name.to_os_string(), number);
        self.nodes.push(node);
        Ok(number)
    }

    pub(super) fn crash(
        &mut self,
        mut fate: impl FnMut(Piece) -> Fate,
        mut keeps_names: impl FnMut() -> bool,
    ) {
        for node in &mut self.nodes {
            match node {
                Node::Directory { live, durable } if keeps_names() => durable.clone_from(live),
                Node::Directory { live, durable } => live.clone_from(durable),
                Node::File(data) => data.crash(&mut fate),
            }
        }
        self.life += 1;
        self.stop_at = None;
        self.fault = None;
        self.fails_next_sync = false;
    }
}

impl Node {
    pub(super) fn directory() -> Self {
        Self::Directory {
            live: Names::new(),
            durable: Names::new(),
        }
    }
}

impl Data {
    pub(super) fn crash(&mut self, fate: &mut impl FnMut(Piece) -> Fate) {
        for write in std::mem::take(&mut self.unsynced) {
            let mut rest = &write.bytes[..];
            let mut offset = write.offset;
            while !rest.is_empty() {
                let len = (SECTOR_BYTES - offset % SECTOR_BYTES).min(rest.len());
                let (piece, behind) = rest.split_at(len);
                let place = Piece {
                    operation: write.operation,
                    offset: offset as u64,
                    len,
                };
                match fate(place) {
                    Fate::Lost => {}
                    Fate::Kept => put(&mut self.durable, offset, piece),
                    Fate::Flipped(bit) => {
                        put(&mut self.durable, offset, piece);
                        self.durable[offset + bit / 8] ^= 1 << (bit % 8);
                    }
                }
                offset += len;
                rest = behind;
            }
        }
        self.live.clone_from(&self.durable);
    }

    pub(super) fn sync(&mut self) {
        for write in std::mem::take(&mut self.unsynced) {
            put(&mut self.durable, write.offset, &write.bytes);
        }
        if self.durable.len() < self.live.len() {
            self.durable.resize(self.live.len(), 0);
        }
    }
}

pub(super) fn put(bytes: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    if bytes.len() < offset + piece.len() {
        bytes.resize(offset + piece.len(), 0);
    }
    bytes[offset..offset + piece.len()].copy_from_slice(piece);
}
