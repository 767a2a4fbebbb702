//! A doubly linked list over dense ids, with the bytes it holds: what the daemon would have in its slab.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    newer: u32,
    older: u32,
    size_bytes: u64,
}

/// From the newest to the oldest; every operation is a few writes to a slab.
#[derive(Debug)]
pub(super) struct List {
    nodes: Vec<Node>,
    newest: u32,
    oldest: u32,
    bytes: u64,
}

impl List {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), newest: NONE, oldest: NONE, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The neighbour that came later.
    pub(super) fn newer(&self, id: u32) -> Option<u32> {
        let newer = self.nodes[id as usize].newer;
        (newer != NONE).then_some(newer)
    }

    /// Puts an id that is not in the list at the newest end.
    pub(super) fn push(&mut self, id: u32, size_bytes: u64) {
        if self.nodes.len() <= id as usize {
            self.nodes.resize(id as usize + 1, Node { newer: NONE, older: NONE, size_bytes: 0 });
        }
        self.nodes[id as usize] = Node { newer: NONE, older: self.newest, size_bytes };
        match self.newest {
            NONE => self.oldest = id,
            newest => self.nodes[newest as usize].newer = id,
        }
        self.newest = id;
        self.bytes += size_bytes;
    }

    /// Unlinks an id that is in the list; gives its size.
    pub(super) fn remove(&mut self, id: u32) -> u64 {
        let Node { newer, older, size_bytes } = self.nodes[id as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        self.bytes -= size_bytes;
        size_bytes
    }

    pub(super) fn pop(&mut self) -> Option<(u32, u64)> {
        let id = self.oldest()?;
        Some((id, self.remove(id)))
    }

    /// Moves an id that is in the list to the newest end.
    pub(super) fn renew(&mut self, id: u32) {
        let size_bytes = self.remove(id);
        self.push(id, size_bytes);
    }
}

/// A byte for each id that was ever set.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<u8>);

impl Marks {
    pub(super) fn get(&self, id: u32) -> u8 {
        self.0.get(id as usize).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, id: u32, mark: u8) {
        if self.0.len() <= id as usize {
            self.0.resize(id as usize + 1, 0);
        }
        self.0[id as usize] = mark;
    }
}
