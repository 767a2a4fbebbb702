//! The entry stream: what a saved tree consists of. The layout is in `README.md`, section "Entry
//! stream".

use super::ChunkRef;
use super::manifest::narrow;
use super::wire::{FormatError, Reader, put_bytes, put_signed, put_varint};

/// What a saved path is relative to, so that it comes back where the restoring job expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Anchor {
    /// The job's working directory.
    WorkingDirectory,
    /// The home directory of whoever restores.
    Home,
    /// The root of the file system.
    Absolute,
}

/// Extended attributes: name and value, in the order of their names.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Time {
    /// May be negative.
    pub secs: i64,
    /// Below 1,000,000,000.
    pub nanos: u32,
}

/// What every entry but a link has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits, set-user-id, set-group-id and sticky: below `0o10000`.
    pub mode: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// A piece of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extent {
    /// This many chunks that lie one after the other in a pack.
    Chunks {
        /// The first of them.
        first: ChunkRef,
        /// How many, at least one.
        count: u32,
    },
    /// This many zero bytes that take no room.
    Hole(u64),
}

/// One step through a tree, parents before children, names within a folder strictly ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// The next record, which has an empty name, is a saved path; this says where it goes.
    Root {
        /// What `path` is relative to.
        anchor: Anchor,
        /// Without `.`, `..` or empty parts; empty for the anchor itself.
        path: &'a [u8],
    },
    /// A folder; its entries follow, up to [`Record::End`].
    Folder {
        /// Its name.
        name: &'a [u8],
        /// Mode, time, attributes.
        meta: Meta,
    },
    /// A regular file.
    File {
        /// Its name.
        name: &'a [u8],
        /// Mode, time, attributes.
        meta: Meta,
        /// Its content.
        extents: Vec<Extent>,
    },
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: &'a [u8],
        /// What it says.
        target: &'a [u8],
        /// When it was made.
        mtime: Time,
    },
    /// One more name of a regular file that came before.
    Hardlink {
        /// Its name.
        name: &'a [u8],
        /// Which saved path the file is in, counted from 0.
        root: u32,
        /// The file's path from there; empty when the saved path is the file itself.
        path: &'a [u8],
    },
    /// No more entries in the folder.
    End,
}

const ROOT: u8 = 0;
const FOLDER: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const HARDLINK: u8 = 4;
const END: u8 = 5;

const XATTR: u64 = 1;

/// Writes an entry stream; the caller keeps the order that [`Record`] demands.
#[derive(Debug, Default)]
pub struct StreamWriter {
    out: Vec<u8>,
    state: State,
}

/// What both sides remember from record to record: numbers are coded as differences.
#[derive(Debug, Default, Clone, Copy)]
struct State {
    secs: i64,
    /// The chunk after the last one mentioned.
    next: ChunkRef,
}

impl StreamWriter {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Appends a record.
    pub fn write(&mut self, record: &Record<'_>) {
        match record {
            Record::Root { anchor, path } => {
                self.out.push(ROOT);
                self.out.push(anchor_code(*anchor));
                put_bytes(&mut self.out, path);
            }
            Record::Folder { name, meta } => {
                self.named(FOLDER, name);
                self.meta(meta);
            }
            Record::File { name, meta, extents } => {
                self.named(FILE, name);
                self.meta(meta);
                put_varint(&mut self.out, extents.len() as u64);
                for extent in extents {
                    self.extent(*extent);
                }
            }
            Record::Symlink { name, target, mtime } => {
                self.named(SYMLINK, name);
                self.time(*mtime);
                put_bytes(&mut self.out, target);
            }
            Record::Hardlink { name, root, path } => {
                self.named(HARDLINK, name);
                put_varint(&mut self.out, u64::from(*root));
                put_bytes(&mut self.out, path);
            }
            Record::End => self.out.push(END),
        }
    }

    fn named(&mut self, tag: u8, name: &[u8]) {
        self.out.push(tag);
        put_bytes(&mut self.out, name);
    }

    fn meta(&mut self, meta: &Meta) {
        put_varint(&mut self.out, u64::from(meta.mode));
        self.time(meta.mtime);
        put_varint(&mut self.out, meta.xattrs.len() as u64);
        for (name, value) in &meta.xattrs {
            put_varint(&mut self.out, XATTR);
            let mut extra = Vec::with_capacity(name.len() + value.len() + 2);
            put_bytes(&mut extra, name);
            extra.extend_from_slice(value);
            put_bytes(&mut self.out, &extra);
        }
    }

    fn time(&mut self, time: Time) {
        put_signed(&mut self.out, time.secs.wrapping_sub(self.state.secs));
        put_varint(&mut self.out, u64::from(time.nanos));
        self.state.secs = time.secs;
    }

    fn extent(&mut self, extent: Extent) {
        match extent {
            Extent::Chunks { first, count } => {
                put_varint(&mut self.out, u64::from(count) << 1);
                let next = self.state.next;
                put_signed(&mut self.out, i64::from(first.pack) - i64::from(next.pack));
                put_signed(&mut self.out, i64::from(first.chunk) - i64::from(next.chunk));
                self.state.next = ChunkRef { pack: first.pack, chunk: first.chunk + count };
            }
            Extent::Hole(len) => {
                put_varint(&mut self.out, 1);
                put_varint(&mut self.out, len);
            }
        }
    }
}

/// Reads an entry stream and refuses one that breaks a rule of [`Record`].
#[derive(Debug)]
pub struct StreamReader<'a> {
    reader: Reader<'a>,
    state: State,
    /// The last name seen in each open folder.
    folders: Vec<&'a [u8]>,
    roots: u32,
    /// A root was announced and its record is still to come.
    root_pending: bool,
}

impl<'a> StreamReader<'a> {
    /// Deeper trees are refused.
    pub const DEPTH_MAX: usize = 1024;
    /// Longer names are refused; no file system takes them.
    pub const NAME_BYTES_MAX: u64 = 255;
    /// Longer paths and link targets are refused.
    pub const PATH_BYTES_MAX: u64 = 1 << 16;
    /// A file in more pieces is refused.
    pub const EXTENTS_MAX: u64 = 1 << 24;

    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes, "entry stream"),
            state: State::default(),
            folders: Vec::new(),
            roots: 0,
            root_pending: false,
        }
    }

    /// The next record; nothing at the end of a stream that is complete.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error ends the stream, an iterator goes on"
    )]
    pub fn next(&mut self) -> Result<Option<Record<'a>>, FormatError> {
        if self.reader.is_empty() {
            let complete = self.folders.is_empty() && !self.root_pending;
            return if complete { Ok(None) } else { Err(FormatError::Short("entry stream")) };
        }
        let record = match self.reader.u8()? {
            ROOT => self.root()?,
            FOLDER => {
                let (name, meta) = (self.name()?, self.meta()?);
                if self.folders.len() == Self::DEPTH_MAX {
                    return Err(FormatError::Invalid("depth of the tree"));
                }
                self.folders.push(b"");
                Record::Folder { name, meta }
            }
            FILE => {
                Record::File { name: self.name()?, meta: self.meta()?, extents: self.extents()? }
            }
            SYMLINK => {
                let (name, mtime) = (self.name()?, self.time()?);
                let target = self.reader.bytes("link target", Self::PATH_BYTES_MAX)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(FormatError::Invalid("link target"));
                }
                Record::Symlink { name, target, mtime }
            }
            HARDLINK => self.hardlink()?,
            END => {
                if self.root_pending || self.folders.pop().is_none() {
                    return Err(FormatError::Invalid("end of a folder"));
                }
                Record::End
            }
            _ => return Err(FormatError::Invalid("kind of an entry")),
        };
        Ok(Some(record))
    }

    fn root(&mut self) -> Result<Record<'a>, FormatError> {
        let anchor = match self.reader.u8()? {
            0 => Anchor::WorkingDirectory,
            1 => Anchor::Home,
            2 => Anchor::Absolute,
            _ => return Err(FormatError::Invalid("anchor of a saved path")),
        };
        let path = self.reader.bytes("saved path", Self::PATH_BYTES_MAX)?;
        let plain = path.is_empty() || path.split(|&byte| byte == b'/').all(is_name);
        if !plain || self.root_pending || !self.folders.is_empty() {
            return Err(FormatError::Invalid("saved path"));
        }
        self.root_pending = true;
        self.roots += 1;
        Ok(Record::Root { anchor, path })
    }

    fn hardlink(&mut self) -> Result<Record<'a>, FormatError> {
        let name = self.name()?;
        let root = narrow(self.reader.varint()?)?;
        let path = self.reader.bytes("hard link", Self::PATH_BYTES_MAX)?;
        let plain = path.is_empty() || path.split(|&byte| byte == b'/').all(is_name);
        if !plain || root >= self.roots {
            return Err(FormatError::Invalid("hard link"));
        }
        Ok(Record::Hardlink { name, root, path })
    }

    fn name(&mut self) -> Result<&'a [u8], FormatError> {
        let name = self.reader.bytes("name", Self::NAME_BYTES_MAX)?;
        if std::mem::take(&mut self.root_pending) {
            return if name.is_empty() { Ok(name) } else { Err(FormatError::Invalid("name")) };
        }
        let last =
            self.folders.last_mut().ok_or(FormatError::Invalid("entry outside a saved path"))?;
        if !is_name(name) || *last >= name {
            return Err(FormatError::Invalid("name"));
        }
        *last = name;
        Ok(name)
    }

    fn meta(&mut self) -> Result<Meta, FormatError> {
        let mode = narrow(self.reader.bounded("mode", 0o7777)?)?;
        let mtime = self.time()?;
        let mut xattrs = Vec::new();
        for _ in 0..self.reader.bounded("number of attributes", 1024)? {
            let tag = self.reader.varint()?;
            let extra = self.reader.bytes("attribute", 1 << 17)?;
            // Attributes of other kinds may be added without a new version of the format.
            if tag == XATTR {
                let mut reader = Reader::new(extra, "attribute");
                let name = reader.bytes("name of an attribute", 255)?;
                if name.is_empty() || name.contains(&0) {
                    return Err(FormatError::Invalid("name of an attribute"));
                }
                xattrs.push((name.to_vec(), reader.take(reader.remaining())?.to_vec()));
            }
        }
        Ok(Meta { mode, mtime, xattrs })
    }

    fn time(&mut self) -> Result<Time, FormatError> {
        let secs = self.state.secs.wrapping_add(self.reader.signed()?);
        let nanos = narrow(self.reader.bounded("nanoseconds", 999_999_999)?)?;
        self.state.secs = secs;
        Ok(Time { secs, nanos })
    }

    fn extents(&mut self) -> Result<Vec<Extent>, FormatError> {
        let count = self.reader.bounded("number of pieces", Self::EXTENTS_MAX)?;
        let room = super::manifest::bounded_capacity(count, self.reader.remaining(), 2);
        let mut extents = Vec::with_capacity(room);
        for _ in 0..count {
            extents.push(self.extent()?);
        }
        Ok(extents)
    }

    fn extent(&mut self) -> Result<Extent, FormatError> {
        let head = self.reader.varint()?;
        if head == 1 {
            return Ok(Extent::Hole(self.reader.bounded("hole", i64::MAX.cast_unsigned())?));
        }
        let count = narrow(head >> 1)?;
        if head & 1 == 1 || count == 0 {
            return Err(FormatError::Invalid("piece of a file"));
        }
        let first = ChunkRef {
            pack: offset(self.state.next.pack, self.reader.signed()?)?,
            chunk: offset(self.state.next.chunk, self.reader.signed()?)?,
        };
        let end = first.chunk.checked_add(count).ok_or(FormatError::Invalid("piece of a file"))?;
        self.state.next = ChunkRef { pack: first.pack, chunk: end };
        Ok(Extent::Chunks { first, count })
    }
}

fn offset(from: u32, by: i64) -> Result<u32, FormatError> {
    let value = i64::from(from).checked_add(by).and_then(|value| u32::try_from(value).ok());
    value.ok_or(FormatError::Invalid("chunk reference"))
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() as u64 <= StreamReader::NAME_BYTES_MAX
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0)
}

fn anchor_code(anchor: Anchor) -> u8 {
    match anchor {
        Anchor::WorkingDirectory => 0,
        Anchor::Home => 1,
        Anchor::Absolute => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Record<'_>>, FormatError> {
        let mut reader = StreamReader::new(bytes);
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        Ok(records)
    }

    fn write_all(records: &[Record<'_>]) -> Vec<u8> {
        let mut writer = StreamWriter::new();
        for record in records {
            writer.write(record);
        }
        writer.finish()
    }

    fn folder(name: &[u8]) -> Record<'_> {
        Record::Folder { name, meta: Meta { mode: 0o755, ..Meta::default() } }
    }

    const ROOT: Record<'static> = Record::Root { anchor: Anchor::Home, path: b".cache/pip" };

    prop_compose! {
        fn any_meta()(mode in 0..0o10000_u32, secs: i64, nanos in 0..1_000_000_000_u32, value: Vec<u8>) -> Meta {
            Meta { mode, mtime: Time { secs, nanos }, xattrs: vec![(b"user.x".to_vec(), value)] }
        }
    }

    fn any_extent() -> impl Strategy<Value = Extent> {
        prop_oneof![
            (any::<u32>(), 0..u32::MAX / 2, 1..1000_u32).prop_map(|(pack, chunk, count)| {
                Extent::Chunks { first: ChunkRef { pack, chunk }, count }
            }),
            (0..=i64::MAX.cast_unsigned()).prop_map(Extent::Hole),
        ]
    }

    proptest! {
        #[test]
        fn streams_round_trip(metas in proptest::collection::vec((any_meta(), proptest::collection::vec(any_extent(), 0..4)), 1..20)) {
            let names: Vec<String> = (0..metas.len()).map(|at| format!("{at:04}")).collect();
            let mut records = vec![ROOT, folder(b"")];
            for (name, (meta, extents)) in names.iter().zip(metas) {
                records.push(Record::File { name: name.as_bytes(), meta, extents });
            }
            records.push(Record::Symlink { name: b"l\xff", target: b"../x", mtime: Time { secs: -5, nanos: 1 } });
            records.push(Record::Hardlink { name: b"m", root: 0, path: b"0000" });
            records.push(Record::End);
            let bytes = write_all(&records);
            prop_assert_eq!(read_all(&bytes), Ok(records));
        }

        #[test]
        fn foreign_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), honest in any::<bool>()) {
            if honest {
                let mut stream = write_all(&[ROOT, folder(b""), folder(b"a"), Record::End]);
                stream.append(&mut bytes);
                bytes = stream;
            }
            let _ = read_all(&bytes);
        }
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in [&b".."[..], b".", b"a/b", b"a\0", b""] {
            let bytes = write_all(&[ROOT, folder(b""), folder(name), Record::End, Record::End]);
            assert_eq!(read_all(&bytes), Err(FormatError::Invalid("name")), "{name:?}");
        }
        for path in [&b"../x"[..], b"/etc", b"a//b", b"a/./b"] {
            let bytes =
                write_all(&[Record::Root { anchor: Anchor::Home, path }, folder(b""), Record::End]);
            assert_eq!(read_all(&bytes), Err(FormatError::Invalid("saved path")), "{path:?}");
        }
    }

    #[test]
    fn a_name_comes_once_so_that_nothing_is_written_through_a_link() {
        let link = Record::Symlink { name: b"a", target: b"/etc", mtime: Time::default() };
        let bytes = write_all(&[ROOT, folder(b""), link, folder(b"a"), Record::End, Record::End]);
        assert_eq!(read_all(&bytes), Err(FormatError::Invalid("name")));
    }

    #[test]
    fn an_unfinished_stream_is_refused() {
        assert!(read_all(&write_all(&[ROOT])).is_err());
        assert!(read_all(&write_all(&[ROOT, folder(b"")])).is_err());
        assert!(read_all(&write_all(&[folder(b"")])).is_err(), "no saved path");
        assert!(read_all(&write_all(&[ROOT, Record::End])).is_err());
    }

    #[test]
    fn folders_nest_to_a_limit() {
        let deep: Vec<Record<'_>> = (0..=StreamReader::DEPTH_MAX)
            .map(|at| folder(if at == 0 { b"" } else { b"d" }))
            .collect();
        let mut records = vec![ROOT];
        records.extend(deep);
        assert_eq!(read_all(&write_all(&records)), Err(FormatError::Invalid("depth of the tree")));
    }
}
