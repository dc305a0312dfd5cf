//! A hash table whose positions can be visited in turn.

use std::sync::Arc;

use crate::cache::slot::Slot;

/// Number of positions of the smallest table that has slots.
const MIN_POSITIONS: usize = 8;

/// Largest number of positions per slot, above [`MIN_POSITIONS`].
pub(super) const MAX_SPARSENESS: usize = 8;

/// Finds slots by the fingerprint of their credentials.
///
/// It uses open addressing with linear probing. `HashSet` is no alternative, because it cannot
/// continue from a position, so each eviction would begin at the first slot.
#[derive(Default)]
pub(super) struct Table {
    /// The tag of the slot at each position, or [`EMPTY`].
    ///
    /// A lookup compares tags, so that it reads the memory of one slot only.
    tags: Box<[u32]>,
    slots: Box<[Option<Arc<Slot>>]>,
    len: usize,
}

const EMPTY: u32 = 0;

/// Returns the part of the fingerprint that the table uses, which is never [`EMPTY`].
fn tag(fingerprint: u64) -> u32 {
    fingerprint as u32 | 1
}

impl Table {
    pub(super) fn find(
        &self,
        fingerprint: u64,
        matches: impl Fn(&Arc<Slot>) -> bool,
    ) -> Option<&Arc<Slot>> {
        self.probe(tag(fingerprint), matches).map(|(_, slot)| slot)
    }

    /// Inserts a slot that is not in the table.
    pub(super) fn insert(&mut self, fingerprint: u64, slot: Arc<Slot>) {
        // An eighth stays empty, because probing ends at an empty position.
        if (self.len + 1) * 8 > self.positions() * 7 {
            self.resize(larger(self.positions()));
        }
        self.put(tag(fingerprint), slot);
        self.len += 1;
    }

    /// Removes and returns the slot with this fingerprint that `matches` accepts.
    pub(super) fn take(
        &mut self,
        fingerprint: u64,
        matches: impl Fn(&Arc<Slot>) -> bool,
    ) -> Option<Arc<Slot>> {
        let (position, _) = self.probe(tag(fingerprint), matches)?;
        let slot = self.slots[position].take();
        self.close_gap(position);
        self.len -= 1;
        if self.positions() > MIN_POSITIONS.max(self.len * MAX_SPARSENESS) {
            let mut positions = MIN_POSITIONS;
            while positions < self.len * 2 {
                positions = larger(positions);
            }
            self.resize(positions);
        }
        slot
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.iter().flatten()
    }

    /// Iterates over the positions from `first` to the last one.
    pub(super) fn positions_from(&self, first: usize) -> impl Iterator<Item = Option<&Arc<Slot>>> {
        self.slots.iter().skip(first).map(Option::as_ref)
    }

    /// Returns the slot that has this tag and that `matches` accepts, and its position.
    fn probe(&self, tag: u32, matches: impl Fn(&Arc<Slot>) -> bool) -> Option<(usize, &Arc<Slot>)> {
        // The loop has no indices, because bounds checks would cost a hit as much as probing does.
        let home = self.home(tag);
        let after = self.tags.get(home..)?;
        for (n, found) in after.iter().chain(&self.tags).enumerate() {
            if *found == tag || *found == EMPTY {
                let position = if n < after.len() { home + n } else { n - after.len() };
                let slot = self.slots.get(position)?.as_ref()?;
                if matches(slot) {
                    return Some((position, slot));
                }
            }
        }
        None
    }

    /// Puts a slot into the first empty position from its home on.
    fn put(&mut self, tag: u32, slot: Arc<Slot>) {
        let mut position = self.home(tag);
        while self.tags[position] != EMPTY {
            position = self.next(position);
        }
        self.tags[position] = tag;
        self.slots[position] = Some(slot);
    }

    /// Moves the slots after an emptied position back, so that probing still finds them.
    fn close_gap(&mut self, mut gap: usize) {
        let mut position = self.next(gap);
        while self.tags[position] != EMPTY {
            let home = self.home(self.tags[position]);
            // A slot must not move to a position before its home.
            if self.distance(home, position) >= self.distance(gap, position) {
                self.tags[gap] = self.tags[position];
                self.slots.swap(gap, position);
                gap = position;
            }
            position = self.next(position);
        }
        self.tags[gap] = EMPTY;
    }

    /// Moves all slots into a table of another size, without reading the slots.
    fn resize(&mut self, positions: usize) {
        let empty = Self {
            tags: vec![EMPTY; positions].into(),
            slots: vec![None; positions].into(),
            len: self.len,
        };
        let old = std::mem::replace(self, empty);
        for (tag, slot) in old.tags.into_iter().zip(old.slots) {
            if let Some(slot) = slot {
                self.put(tag, slot);
            }
        }
    }

    fn positions(&self) -> usize {
        self.tags.len()
    }

    /// Returns the position at which probing for a tag begins.
    fn home(&self, tag: u32) -> usize {
        // Scales the tag to the number of positions, which need not be a power of two.
        ((u64::from(tag) * self.positions() as u64) >> 32) as usize
    }

    fn next(&self, position: usize) -> usize {
        if position + 1 == self.positions() { 0 } else { position + 1 }
    }

    /// Returns the number of steps from one position to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.positions() - from }
    }
}

/// Returns the next size: 8, 12, 16, 24, 32, 48, …
///
/// Steps of one half save memory.
fn larger(positions: usize) -> usize {
    if positions == 0 {
        MIN_POSITIONS
    } else if positions.is_power_of_two() {
        positions / 2 * 3
    } else {
        positions / 3 * 4
    }
}
