//! Defines a bounded map that forgets the least recently used entry.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Keeps values for a bounded number of keys.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The keys in the order in which they were used, oldest first.
    order: BTreeMap<u64, K>,
    last_use: u64,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// The key of this entry in `order`.
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Default> BoundedMap<K, V> {
    /// Creates an empty map for at most `capacity` keys.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), last_use: 0, capacity }
    }

    /// Returns the value of a key without a change to the order.
    pub(crate) fn peek<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Returns the value of a key, which counts as used now.
    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let Self { entries, order, last_use, .. } = self;
        let entry = entries.get_mut(key)?;
        // The entry that was used last is used again most often, and need not move.
        if entry.used != *last_use {
            *last_use += 1;
            if let Some(key) = order.remove(&entry.used) {
                order.insert(*last_use, key);
            }
            entry.used = *last_use;
        }
        Some(&mut entry.value)
    }

    /// Returns the value of a key, which is inserted if needed. A full map then drops the oldest
    /// entry.
    pub(crate) fn get_or_default<Q>(&mut self, key: &Q) -> &mut V
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if !self.entries.contains_key(key) {
            if self.entries.len() >= self.capacity {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.entries.remove(oldest.borrow());
                }
            }
            self.last_use += 1;
            self.order.insert(self.last_use, key.to_owned());
            let entry = Entry { value: V::default(), used: self.last_use };
            self.entries.insert(key.to_owned(), entry);
        }
        self.get_mut(key).expect("the key was inserted above")
    }

    /// Removes a key and returns its value.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.used);
        Some(entry.value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_was_not_used_for_longest_makes_room() {
        let mut map = BoundedMap::<String, usize>::with_capacity(3);
        for key in ["a", "b", "c"] {
            *map.get_or_default(key) = key.len();
        }
        map.get_mut("a");
        *map.get_or_default("b") += 1;
        map.get_or_default("d");
        assert_eq!(map.peek("c"), None);
        assert_eq!([map.peek("a"), map.peek("b"), map.peek("d")], [Some(&1), Some(&2), Some(&0)]);
        assert_eq!(map.remove("b"), Some(2));
        map.get_or_default("e");
        assert_eq!(map.peek("a"), Some(&1), "there was room");
        assert_eq!(map.len(), 3);
    }
}
