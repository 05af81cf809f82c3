//! Files in memory: lists of the pieces that were appended, read without a copy where one piece has it all.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

use super::{Storage, StoredFile};

#[derive(Debug, Default)]
pub(crate) struct MemoryStorage {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

#[derive(Debug, Default)]
struct MemoryFile {
    content: RwLock<Content>,
}

#[derive(Debug, Default)]
struct Content {
    /// Position of each piece, and the piece.
    pieces: Vec<(u64, Bytes)>,
    len: u64,
}

impl Storage for MemoryStorage {
    fn open(&self, path: &str) -> io::Result<Arc<dyn StoredFile>> {
        Ok(self
            .files
            .lock()
            .entry(path.to_owned())
            .or_default()
            .clone())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let files = self.files.lock();
        let mut names: Vec<String> = files
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(|rest| rest.split('/').next().unwrap_or(rest).to_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str, _durable: bool) -> io::Result<()> {
        let mut files = self.files.lock();
        if let Some(file) = files.remove(from) {
            files.insert(to.to_owned(), file);
            return Ok(());
        }
        let prefix = format!("{from}/");
        let inside: Vec<String> = files
            .keys()
            .filter(|path| path.starts_with(&prefix))
            .cloned()
            .collect();
        for path in inside {
            if let Some(file) = files.remove(&path) {
                files.insert(format!("{to}/{}", &path[prefix.len()..]), file);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().remove(path);
        Ok(())
    }

    fn remove_directory(&self, directory: &str) -> io::Result<()> {
        let prefix = format!("{directory}/");
        self.files
            .lock()
            .retain(|path, _| !path.starts_with(&prefix));
        Ok(())
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

impl StoredFile for MemoryFile {
    fn len(&self) -> u64 {
        self.content.read().len
    }

    fn append(&self, parts: &[Bytes]) -> io::Result<()> {
        let total = parts.iter().map(Bytes::len).sum();
        // One piece of its own: a slice of a request would keep the whole request alive, and a batch
        // in several pieces would have to be put together for every reader.
        let mut piece = BytesMut::with_capacity(total);
        parts.iter().for_each(|part| piece.extend_from_slice(part));
        let mut content = self.content.write();
        let position = content.len;
        content.pieces.push((position, piece.freeze()));
        content.len += total as u64;
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let content = self.content.read();
        let end = content.len.min(position.saturating_add(length as u64));
        if position >= end {
            return Ok(Bytes::new());
        }
        let first = content
            .pieces
            .partition_point(|(start, _)| *start <= position)
            - 1;
        let slices = content.pieces[first..]
            .iter()
            .take_while(|(start, _)| *start < end)
            .map(|(start, piece)| {
                let from = position.saturating_sub(*start) as usize;
                let to = piece.len().min((end - start) as usize);
                piece.slice(from..to)
            });
        let slices: Vec<Bytes> = slices.collect();
        match <[Bytes; 1]>::try_from(slices) {
            Ok([whole]) => Ok(whole),
            Err(slices) => {
                let mut joined = BytesMut::with_capacity((end - position) as usize);
                slices
                    .iter()
                    .for_each(|slice| joined.extend_from_slice(slice));
                Ok(joined.freeze())
            }
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut content = self.content.write();
        content.pieces.retain(|(start, _)| *start < length);
        if let Some((start, piece)) = content.pieces.last_mut() {
            piece.truncate((length - *start) as usize);
        }
        content.len = content.len.min(length);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
