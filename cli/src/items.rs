//! The items of a batch, read one by one, as often as they are needed.

use crate::tensors::Ports;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depx_protocol::{Blob, InputHasher, JobInput};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;

/// Where the items of a job come from.
pub(crate) enum Items {
    /// Standard input of a job that is no batch.
    Whole(Bytes),
    /// A file for each.
    Files(Vec<PathBuf>),
    /// A file of lines.
    Lines(PathBuf),
    /// A file of records of so many bytes.
    Records(PathBuf, usize),
    /// What arrays in a file hold.
    Given(Vec<Bytes>),
    /// Items whose content is what files of tensors hold.
    Tensors(Box<Items>, Arc<Ports>),
    /// Lines or records of standard input, which were written into a file first.
    Spooled { items: Box<Items>, _file: NamedTempFile },
}

/// Items one by one.
pub(crate) type Iter<'a> = Box<dyn Iterator<Item = io::Result<Bytes>> + Send + 'a>;

impl Items {
    /// The files of a directory in order of their names, the lines of a file, or its records if `record_bytes` are given. `-` is
    /// standard input: it is read to its end first, because a job's identity covers all of its items.
    pub(crate) fn open(path: &Path, record_bytes: Option<usize>) -> Result<Self> {
        if path == Path::new("-") {
            let mut spool = NamedTempFile::new().context("cannot make a temporary file")?;
            io::copy(&mut io::stdin().lock(), &mut spool).context("cannot read standard input")?;
            let items = Self::of_file(spool.path(), record_bytes).context("standard input cannot be a batch")?;
            return Ok(Self::Spooled { items: Box::new(items), _file: spool });
        }
        if !path.is_dir() {
            return Self::of_file(path, record_bytes);
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|file| file.is_file());
        files.sort();
        Ok(Self::Files(files))
    }

    fn of_file(path: &Path, record_bytes: Option<usize>) -> Result<Self> {
        let file = path.to_owned();
        let Some(size) = record_bytes else { return Ok(Self::Lines(file)) };
        ensure!(size > 0, "--record-bytes must be at least 1");
        let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        let over = length % size as u64;
        if over > 0 {
            bail!("{} is not a whole number of records of {size} bytes: {over} left over", path.display());
        }
        Ok(Self::Records(file, size))
    }

    /// All items, from the first on.
    pub(crate) fn iter(&self) -> Result<Iter<'_>> {
        let open = |path: &Path| File::open(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(match self {
            Self::Whole(content) => Box::new(std::iter::once(Ok(content.clone()))),
            Self::Files(files) => Box::new(files.iter().map(|file| read(file))),
            Self::Lines(path) => {
                Box::new(chunks(BufReader::new(open(path)?), |file, line| file.read_until(b'\n', line)))
            }
            Self::Records(path, size) => {
                let size = *size as u64;
                Box::new(chunks(BufReader::new(open(path)?), move |file, record| file.take(size).read_to_end(record)))
            }
            Self::Given(items) => Box::new(items.iter().cloned().map(Ok)),
            Self::Tensors(items, ports) => {
                let item = |content: io::Result<Bytes>| ports.item(content?).map_err(io::Error::other);
                Box::new(items.iter()?.map(item))
            }
            Self::Spooled { items, .. } => items.iter()?,
        })
    }

    /// Whether they are no batch.
    pub(crate) fn is_one(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Tensors(items, _) => items.is_one(),
            _ => false,
        }
    }

    /// What a job says of them. Reads all of them twice: their number stands before them in what is hashed.
    pub(crate) fn input(&self) -> Result<JobInput> {
        if self.is_one() {
            let content = self.iter()?.next().context("there is no item")??;
            return Ok(JobInput::Compute(Blob::of(&content)));
        }
        let mut items = 0;
        for item in self.iter()? {
            item?;
            items += 1;
        }
        let mut hasher = InputHasher::pack(items);
        for item in self.iter()? {
            hasher.push(&item?);
        }
        Ok(JobInput::Batch { pack: hasher.finish(), items })
    }
}

fn read(path: &Path) -> io::Result<Bytes> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    content.map(Bytes::from).map_err(io::Error::other)
}

/// What `next` reads of a file, until it reads nothing.
fn chunks(
    mut file: BufReader<File>,
    mut next: impl FnMut(&mut BufReader<File>, &mut Vec<u8>) -> io::Result<usize>,
) -> impl Iterator<Item = io::Result<Bytes>> {
    std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        match next(&mut file, &mut chunk) {
            Ok(0) => None,
            Ok(_) => Some(Ok(chunk.into())),
            Err(error) => Some(Err(error)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_protocol::{Canonical, ItemPack};

    fn all(items: &Items) -> Vec<Vec<u8>> {
        items.iter().unwrap().map(|item| item.unwrap().to_vec()).collect()
    }

    #[test]
    fn items_are_files_lines_or_records_and_their_input_is_that_of_the_pack() {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in [("b", "second"), ("a", "first"), ("c", "")] {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        std::fs::create_dir(directory.path().join("no-item")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let lines = elsewhere.path().join("lines");
        std::fs::write(&lines, "one\n\nthree\nno end").unwrap();
        let cases: [(&Path, Option<usize>, &[&str]); 3] = [
            (directory.path(), None, &["first", "second", ""]),
            (&lines, None, &["one\n", "\n", "three\n", "no end"]),
            (
                &lines,
                Some(1),
                &["o", "n", "e", "\n", "\n", "t", "h", "r", "e", "e", "\n", "n", "o", " ", "e", "n", "d"],
            ),
        ];
        for (path, record_bytes, expected) in cases {
            let items = Items::open(path, record_bytes).unwrap();
            assert_eq!(all(&items), expected.iter().map(|item| item.as_bytes().to_vec()).collect::<Vec<_>>());
            assert_eq!(all(&items).len(), expected.len(), "they can be read again");
            let pack = Blob::of(&ItemPack::new(all(&items)).to_bytes());
            assert_eq!(items.input().unwrap(), JobInput::Batch { pack, items: expected.len() as u64 });
        }
        let whole = Items::Whole(Bytes::from_static(b"a\nb"));
        assert_eq!(
            (all(&whole), whole.input().unwrap()),
            (vec![b"a\nb".to_vec()], JobInput::Compute(Blob::of(b"a\nb")))
        );
    }

    #[test]
    fn what_cannot_be_items_is_told() {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        let refused = |record| Items::open(file.path(), Some(record)).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused(0), "--record-bytes must be at least 1");
        assert!(refused(2).ends_with("is not a whole number of records of 2 bytes: 1 left over"), "{}", refused(2));
        let missing = Items::open(Path::new("/no/such/file"), None).unwrap().iter().map(|_| ()).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /no/such/file");
    }
}
