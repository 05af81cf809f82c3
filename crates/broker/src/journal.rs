//! A small durable map: an append-only log of changes, each frame under a CRC, and its contents in memory.
//!
//! For state that is small and changes often (groups, offsets). One append is one frame, so its changes are
//! seen after a crash together or not at all. A frame is `length: u32, CRC-32C of the rest: u32, changes`; a
//! change is `flag: u8 (1 put, 0 delete), key length: u32, key, and for a put value length: u32, value`.
//!
//! A log that is torn at its end (the process was killed in the middle of a write) loses exactly the unfinished
//! frame. When most of a log is history it is rewritten: into a new file, which is synced and then
//! renamed over the old one, so that at every moment one of the two is whole.
//!
//! By default an append reaches the page cache, which survives the process but not the machine;
//! [`Durability::Fsync`] waits for the disk. Writes are made on the caller's thread: they are short, and
//! their order is part of the contract.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Below this a log is never rewritten.
const COMPACT_BYTES_MIN: u64 = 4 << 20;
/// A log this many times larger than its contents is rewritten.
const COMPACT_FACTOR: u64 = 4;
/// Changes in one frame of a rewritten log.
const COMPACT_FRAME_BYTES: usize = 256 << 10;
const FRAME_HEAD_BYTES: usize = 8;

/// What an append waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The operating system has the bytes.
    PageCache,
    /// The disk has the bytes.
    Fsync,
}

/// A map whose changes are logged.
#[derive(Debug)]
pub(crate) struct Journal {
    contents: BTreeMap<Bytes, Bytes>,
    /// What the contents would take as a log.
    live_bytes: u64,
    log: Option<Log>,
    compact_bytes_min: u64,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    len: u64,
    durability: Durability,
    /// A write failed and could not be undone: what follows it would be lost.
    broken: bool,
}

impl Journal {
    /// A journal that lives as long as the process.
    pub(crate) fn memory() -> Self {
        Self {
            contents: BTreeMap::new(),
            live_bytes: 0,
            log: None,
            compact_bytes_min: COMPACT_BYTES_MIN,
        }
    }

    /// Opens or creates the log at `path` and reads it; an unfinished end is cut off.
    ///
    /// # Errors
    /// When the file cannot be read, created or cut.
    pub(crate) fn open(path: &Path, durability: Durability) -> io::Result<Self> {
        let mut journal = Self::memory();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        let whole = journal.replay(bytes.clone());
        if whole < bytes.len() {
            tracing::warn!(
                path = %path.display(),
                bytes = bytes.len() - whole,
                "journal ends in an unfinished frame, which is dropped"
            );
            file.set_len(whole as u64)?;
        }
        file.seek(SeekFrom::Start(whole as u64))?;
        if durability == Durability::Fsync {
            file.sync_all()?;
            sync_dir(path)?;
        }
        journal.log = Some(Log {
            path: path.to_owned(),
            file,
            len: whole as u64,
            durability,
            broken: false,
        });
        Ok(journal)
    }

    /// Applies every whole frame; returns where they end.
    fn replay(&mut self, mut bytes: Bytes) -> usize {
        let total = bytes.len();
        loop {
            let whole = total - bytes.len();
            let Some(changes) = next_frame(&mut bytes) else {
                return whole;
            };
            let Some(changes) = decode_changes(changes) else {
                return whole;
            };
            for (key, value) in changes {
                // A copy: a slice would keep the whole file in memory.
                self.apply(
                    Bytes::copy_from_slice(&key),
                    value.map(|value| Bytes::copy_from_slice(&value)),
                );
            }
        }
    }

    fn apply(&mut self, key: Bytes, value: Option<Bytes>) {
        let size = |key: &Bytes, value: &Bytes| (9 + key.len() + value.len()) as u64;
        let old = match value {
            Some(value) => {
                self.live_bytes += size(&key, &value);
                self.contents.insert(key.clone(), value)
            }
            None => self.contents.remove(&key),
        };
        if let Some(old) = old {
            self.live_bytes -= size(&key, &old);
        }
    }

    /// The value under `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.contents.get(key)
    }

    /// What stands under keys that begin with `prefix`, in order.
    pub(crate) fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
        self.contents
            .range::<[u8], _>((
                std::ops::Bound::Included(prefix),
                std::ops::Bound::Unbounded,
            ))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Makes the changes, all or none: `None` deletes.
    ///
    /// # Errors
    /// When the log cannot be written; then nothing has changed. After a failure that cannot be undone
    /// every further append fails.
    pub(crate) fn append(&mut self, changes: Vec<(Bytes, Option<Bytes>)>) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        if let Some(log) = &mut self.log {
            log.append(&frame(
                changes.iter().map(|(key, value)| (key, value.as_ref())),
            ))?;
        }
        for (key, value) in changes {
            self.apply(key, value);
        }
        self.compact_if_worthwhile();
        Ok(())
    }

    /// From now on every append fails, as on a full disk.
    #[cfg(test)]
    pub(crate) fn break_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.broken = true;
        }
    }

    fn compact_if_worthwhile(&mut self) {
        let Some(log) = &mut self.log else { return };
        if log.len < self.compact_bytes_min
            || log.len < self.live_bytes.saturating_mul(COMPACT_FACTOR)
        {
            return;
        }
        if let Err(error) = log.rewrite(&self.contents) {
            // The old log is whole; try again when it has doubled.
            tracing::warn!(path = %log.path.display(), %error, "journal could not be compacted");
            self.compact_bytes_min = log.len.saturating_mul(2);
        } else {
            self.compact_bytes_min = COMPACT_BYTES_MIN;
        }
    }
}

impl Log {
    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write to this journal failed"));
        }
        let written = self
            .file
            .write_all(frame)
            .and_then(|()| match self.durability {
                Durability::PageCache => Ok(()),
                Durability::Fsync => self.file.sync_data(),
            });
        match written {
            Ok(()) => self.len += frame.len() as u64,
            Err(_) => {
                // After a failed sync nobody knows what the disk holds; after a short write the rest
                // of the frame must go before anything else is appended.
                let undone = self
                    .file
                    .set_len(self.len)
                    .and_then(|()| self.file.seek(SeekFrom::Start(self.len)).map(drop));
                self.broken = undone.is_err() || self.durability == Durability::Fsync;
            }
        }
        written
    }

    fn rewrite(&mut self, contents: &BTreeMap<Bytes, Bytes>) -> io::Result<()> {
        let new_path = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new_path)?;
        let mut len = 0;
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        for (key, value) in contents {
            batch_bytes += key.len() + value.len();
            batch.push((key, Some(value)));
            if batch_bytes >= COMPACT_FRAME_BYTES {
                len += write_frame(&mut file, std::mem::take(&mut batch))?;
                batch_bytes = 0;
            }
        }
        if !batch.is_empty() {
            len += write_frame(&mut file, batch)?;
        }
        file.sync_all()?;
        std::fs::rename(&new_path, &self.path)?;
        sync_dir(&self.path)?;
        self.file = file;
        self.len = len;
        Ok(())
    }
}

fn write_frame(file: &mut File, changes: Vec<(&Bytes, Option<&Bytes>)>) -> io::Result<u64> {
    let frame = frame(changes.into_iter());
    file.write_all(&frame)?;
    Ok(frame.len() as u64)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

fn frame<'a>(changes: impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)>) -> BytesMut {
    let mut frame = BytesMut::zeroed(FRAME_HEAD_BYTES);
    for (key, value) in changes {
        frame.put_u8(u8::from(value.is_some()));
        put_bytes(&mut frame, key);
        if let Some(value) = value {
            put_bytes(&mut frame, value);
        }
    }
    let body = &frame[FRAME_HEAD_BYTES..];
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let crc = crc32c::crc32c(body);
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
    frame
}

fn put_bytes(buf: &mut BytesMut, bytes: &[u8]) {
    buf.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    buf.put_slice(bytes);
}

/// The body of the next frame, if it is whole and intact.
fn next_frame(bytes: &mut Bytes) -> Option<Bytes> {
    let mut rest = bytes.clone();
    if rest.remaining() < FRAME_HEAD_BYTES {
        return None;
    }
    let len = usize::try_from(rest.get_u32()).ok()?;
    let crc = rest.get_u32();
    // A length of zero is never written, but is what a file extended with zeroes reads as.
    if len == 0 || rest.remaining() < len {
        return None;
    }
    let body = rest.split_to(len);
    (crc32c::crc32c(&body) == crc).then(|| {
        *bytes = rest;
        body
    })
}

fn decode_changes(mut body: Bytes) -> Option<Vec<(Bytes, Option<Bytes>)>> {
    let mut changes = Vec::new();
    while body.has_remaining() {
        let put = body.get_u8() != 0;
        let key = take_bytes(&mut body)?;
        let value = if put {
            Some(take_bytes(&mut body)?)
        } else {
            None
        };
        changes.push((key, value));
    }
    Some(changes)
}

fn take_bytes(body: &mut Bytes) -> Option<Bytes> {
    if body.remaining() < 4 {
        return None;
    }
    let len = usize::try_from(body.get_u32()).ok()?;
    (body.remaining() >= len).then(|| body.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> (Bytes, Option<Bytes>) {
        (
            Bytes::copy_from_slice(key.as_bytes()),
            Some(Bytes::copy_from_slice(value.as_bytes())),
        )
    }

    fn delete(key: &str) -> (Bytes, Option<Bytes>) {
        (Bytes::copy_from_slice(key.as_bytes()), None)
    }

    fn contents(journal: &Journal) -> Vec<(String, String)> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        journal
            .scan(b"")
            .map(|(key, value)| (text(key), text(value)))
            .collect()
    }

    #[test]
    fn contents_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path, Durability::Fsync).unwrap();
        journal
            .append(vec![put("a", "1"), put("b", "2"), put("ab", "3")])
            .unwrap();
        journal
            .append(vec![put("a", "4"), delete("b"), delete("none")])
            .unwrap();
        let before = contents(&journal);
        drop(journal);
        let journal = Journal::open(&path, Durability::PageCache).unwrap();
        assert_eq!(contents(&journal), before);
        assert_eq!(journal.get(b"a").unwrap().as_ref(), b"4");
        assert_eq!(journal.scan(b"a").count(), 2);
        assert_eq!(journal.scan(b"b").count(), 0);
    }

    #[test]
    fn a_log_cut_at_any_byte_loses_only_the_unfinished_append() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path, Durability::PageCache).unwrap();
        let mut states = vec![(0, contents(&journal))];
        for i in 0..5 {
            journal
                .append(vec![
                    put(&format!("k{i}"), "v"),
                    put("last", &i.to_string()),
                ])
                .unwrap();
            states.push((journal.log.as_ref().unwrap().len, contents(&journal)));
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path, Durability::PageCache).unwrap();
            let (_, expected) = states.iter().rfind(|(len, _)| *len <= cut as u64).unwrap();
            assert_eq!(&contents(&journal), expected, "cut at {cut}");
            // What is appended after the cut must be found again.
            journal.append(vec![put("after", "x")]).unwrap();
            drop(journal);
            let journal = Journal::open(&path, Durability::PageCache).unwrap();
            assert!(journal.get(b"after").is_some(), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_never_read_as_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path, Durability::PageCache).unwrap();
        journal.append(vec![put("key", "value")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            std::fs::write(&path, &bent).unwrap();
            let journal = Journal::open(&path, Durability::PageCache).unwrap();
            assert!(contents(&journal).is_empty(), "bit flipped in byte {at}");
        }
    }

    #[test]
    fn what_stands_behind_damage_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path, Durability::PageCache).unwrap();
        for key in ["a", "b", "c"] {
            journal.append(vec![put(key, "1")]).unwrap();
        }
        let mut bent = std::fs::read(&path).unwrap();
        let middle = bent.len() / 2;
        bent[middle] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        let mut journal = Journal::open(&path, Durability::PageCache).unwrap();
        // As long as the damaged entry, so that the next one would follow exactly.
        journal.append(vec![put("d", "1")]).unwrap();
        let journal = Journal::open(&path, Durability::PageCache).unwrap();
        let keys: Vec<String> = contents(&journal).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "d"]);
    }

    #[test]
    fn history_is_dropped_and_contents_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path, Durability::PageCache).unwrap();
        let long = "x".repeat(COMPACT_FRAME_BYTES / 2);
        journal.append(vec![put("stays", "here")]).unwrap();
        let mut written = 0;
        for i in 0..100 {
            journal
                .append(vec![put(&format!("k{}", i % 3), &format!("{i}{long}"))])
                .unwrap();
            written += long.len() as u64;
        }
        let len = std::fs::metadata(&path).unwrap().len();
        assert!(len < written / 2, "{len} of {written} bytes left");
        let before = contents(&journal);
        assert_eq!(before.len(), 4);
        drop(journal);
        assert_eq!(
            contents(&Journal::open(&path, Durability::PageCache).unwrap()),
            before
        );
    }
}
