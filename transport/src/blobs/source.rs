//! A whole blob that can be given to others.

use super::groups::Windows;
use super::tree::{self, Tree};
use super::{BlobError, Pin};
use bao_tree::io::EncodeError;
use bao_tree::io::sync::ReadAt;
use bytes::Bytes;
use depx_protocol::Blob;
use depx_protocol::wire::{GROUP, GroupRange};
use std::fs::File;
use std::io;

/// A whole blob with its tree. Nothing leaves it that does not match the blob's name.
pub struct Source {
    blob: Blob,
    content: Content,
    tree: Tree<Vec<u8>>,
    /// Keeps a store from evicting it.
    _pin: Option<Pin>,
}

pub(super) enum Content {
    Memory(Bytes),
    File(File),
}

impl ReadAt for &Content {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Memory(bytes) => bytes.as_ref().read_at(position, buffer),
            Content::File(file) => file.read_at(position, buffer),
        }
    }
}

impl Source {
    /// Content in memory.
    pub fn of_bytes(content: Bytes) -> Self {
        match tree::compute(&content[..], content.len() as u64) {
            Ok((blob, tree)) => Self { blob, content: Content::Memory(content), tree, _pin: None },
            Err(error) => unreachable!("reading from memory cannot fail: {error}"),
        }
    }

    /// The content of a file, which is read once for its name. Waits for the disk.
    pub fn of_file(file: File) -> io::Result<Self> {
        let (blob, tree) = tree::compute(io::BufReader::with_capacity(1 << 18, &file), file.metadata()?.len())?;
        Ok(Self { blob, content: Content::File(file), tree, _pin: None })
    }

    pub(super) fn kept(blob: Blob, content: Content, tree: Tree<Vec<u8>>, pin: Pin) -> Self {
        Self { blob, content, tree, _pin: Some(pin) }
    }

    /// Its name.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    pub(super) fn nodes(&self) -> &[u8] {
        &self.tree.data
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.content, Content::Memory(_))
    }

    /// What is sent of groups within one window. Waits for the disk.
    pub(super) fn encode(&self, pieces: &[GroupRange]) -> Result<Bytes, BlobError> {
        tree::encode(&self.content, &self.tree, pieces).map_err(|error| self.fault(error))
    }

    /// Some of the bytes, verified; fewer at the end of the blob. Waits for the disk.
    pub fn read(&self, offset: u64, len: u64) -> Result<Bytes, BlobError> {
        let end = offset.saturating_add(len).min(self.blob.len);
        let offset = offset.min(end);
        if offset == end {
            return Ok(Bytes::new());
        }
        let first = offset / GROUP;
        let range = GroupRange { first, count: end.div_ceil(GROUP) - first };
        let mut bytes = Vec::with_capacity(usize::try_from(range.count * GROUP).unwrap_or(usize::MAX));
        for pieces in Windows::new(vec![range]) {
            let encoded = self.encode(&pieces)?;
            let collect = |_, group: &[u8]| {
                bytes.extend_from_slice(group);
                Ok(())
            };
            let decoded = tree::decode(&self.blob, &pieces, &encoded, |_, _| Ok(()), collect);
            decoded.map_err(|_| BlobError::Damaged { blob: self.blob, offset })?;
        }
        let skip = usize::try_from(offset - first * GROUP).unwrap_or(usize::MAX);
        let end = skip.saturating_add(usize::try_from(end - offset).unwrap_or(usize::MAX));
        Ok(Bytes::from(bytes).slice(skip..end))
    }

    fn fault(&self, error: EncodeError) -> BlobError {
        let offset = match error {
            EncodeError::LeafHashMismatch(chunk) | EncodeError::LeafWrite(chunk) => chunk.to_bytes(),
            EncodeError::ParentHashMismatch(node) | EncodeError::ParentWrite(node) => {
                node.chunk_range().start.to_bytes()
            }
            EncodeError::SizeMismatch | EncodeError::Io(_) => 0,
        };
        BlobError::Damaged { blob: self.blob, offset }
    }
}
