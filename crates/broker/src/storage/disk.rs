//! Files on disk. Writes go to the page cache, which outlives a killed process; only `sync` outlives a
//! power failure.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};

use super::{Storage, StoredFile};

#[derive(Debug)]
pub(crate) struct DiskStorage {
    root: PathBuf,
    /// Locked as long as this lives, so that two brokers cannot write to one directory.
    _lock: File,
}

#[derive(Debug)]
struct DiskFile {
    file: File,
    len: AtomicU64,
}

impl DiskStorage {
    /// Takes a directory into possession, creating it if need be.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(".lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::AddrInUse,
                "another broker is using this data directory",
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }
}

/// It is no error that something to be removed is gone.
fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Storage for DiskStorage {
    fn open(&self, path: &str) -> io::Result<Arc<dyn StoredFile>> {
        let path = self.root.join(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        let len = AtomicU64::new(file.metadata()?.len());
        Ok(Arc::new(DiskFile { file, len }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str, durable: bool) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))?;
        // The rename itself is durable once its directory is.
        match self.root.join(to).parent() {
            Some(directory) if durable => File::open(directory)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.root.join(path)))
    }

    fn remove_directory(&self, directory: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_dir_all(self.root.join(directory)))
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

impl StoredFile for DiskFile {
    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn append(&self, parts: &[Bytes]) -> io::Result<()> {
        let mut written = 0;
        let mut rest: Vec<Bytes> = parts
            .iter()
            .filter(|part| !part.is_empty())
            .cloned()
            .collect();
        rest.reverse();
        while !rest.is_empty() {
            let slices: Vec<IoSlice<'_>> = rest
                .iter()
                .rev()
                .take(64)
                .map(|part| IoSlice::new(part))
                .collect();
            let mut taken = match (&self.file).write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                taken => taken?,
            };
            written += taken as u64;
            while taken > 0 {
                let Some(part) = rest.last_mut() else { break };
                let step = taken.min(part.len());
                part.advance(step);
                taken -= step;
                if part.is_empty() {
                    rest.pop();
                }
            }
        }
        self.len.fetch_add(written, Ordering::AcqRel);
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let available = self.len().saturating_sub(position);
        let length = length.min(usize::try_from(available).unwrap_or(usize::MAX));
        let mut buffer = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut buffer, position)?;
        Ok(buffer.freeze())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if length < self.len() {
            self.file.set_len(length)?;
            self.len.store(length, Ordering::Release);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
