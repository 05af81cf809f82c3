//! Where bytes are kept: a small file system, on disk or in memory.
//!
//! Partition logs, their indexes and the state journals are written against [`Storage`] alone, so the
//! segment code is the same for both kinds.

mod batches;
mod cleaner;
mod disk;
mod epochs;
mod index;
pub(crate) mod log;
mod memory;
mod producers;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use batches::{Accepted, Rejection, Rules, accept};
pub(crate) use cleaner::compact;
pub(crate) use disk::DiskStorage;
pub(crate) use log::{Log, LogSettings};
pub(crate) use memory::MemoryStorage;

/// A directory tree. Paths are relative, with `/` between their parts.
pub(crate) trait Storage: Send + Sync + fmt::Debug {
    /// Opens a file for appending and reading, creating it and its directory.
    fn open(&self, path: &str) -> io::Result<Arc<dyn StoredFile>>;
    /// Names in a directory; none if it does not exist.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// Renames a file or directory, replacing a file of that name; with `durable`, for good.
    fn rename(&self, from: &str, to: &str, durable: bool) -> io::Result<()>;
    /// Removes a file; it is no error if there is none.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes a directory with its files; it is no error if there is none.
    fn remove_directory(&self, directory: &str) -> io::Result<()>;
    /// Where this is, for DescribeLogDirs.
    fn location(&self) -> String;
}

/// A file that grows at its end.
pub(crate) trait StoredFile: Send + Sync + fmt::Debug {
    /// Bytes in it.
    fn len(&self) -> u64;
    /// Adds these bytes at the end, all or (after an error) perhaps a part of them.
    fn append(&self, parts: &[Bytes]) -> io::Result<()>;
    /// Up to `length` bytes from `position`; fewer only at the end of the file.
    fn read(&self, position: u64, length: usize) -> io::Result<Bytes>;
    /// Cuts it off.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Forces it to the device.
    fn sync(&self) -> io::Result<()>;
}

/// Writes a small file as a whole: the old content or the new survives a crash, never a mixture.
/// With `durable`, it is on the device when this returns.
pub(crate) fn replace(
    storage: &dyn Storage,
    path: &str,
    content: Bytes,
    durable: bool,
) -> io::Result<()> {
    let temporary = format!("{path}.tmp");
    storage.remove(&temporary)?;
    let file = storage.open(&temporary)?;
    file.append(&[content])?;
    if durable {
        file.sync()?;
    }
    storage.rename(&temporary, path, durable)
}

/// The whole of a small file; empty if there is none.
pub(crate) fn read_all(storage: &dyn Storage, directory: &str, name: &str) -> io::Result<Bytes> {
    if !storage
        .list(directory)?
        .iter()
        .any(|present| present == name)
    {
        return Ok(Bytes::new());
    }
    let file = storage.open(&format!("{directory}/{name}"))?;
    file.read(0, usize::try_from(file.len()).unwrap_or(usize::MAX))
}
