//! The file system as the node sees it.
//!
//! **Owns** the one small interface through which the write-ahead log and the revision log touch
//! files ([`Fs`], [`FsFile`]), the operating system behind it ([`RealFs`]), and a file system in
//! memory that knows what is durable ([`MemFs`]): tests and the simulator lose, tear, rot and
//! refuse each operation there. **Never** knows what is in a file; both formats only share the way
//! in which they write numbers ([`le`]).

mod fs;
pub mod le;
mod mem;
mod real;
pub mod small;

pub use fs::{Fs, FsFile};
pub use mem::{Fate, MemFile, MemFs, Piece};
pub use real::{RealFile, RealFs};
