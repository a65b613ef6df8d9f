//! An ordered tree whose clones share what they have in common, and which counts: how many items lie before a place is
//! answered in logarithmic time. No I/O.
//!
//! A B+ tree. A node is copied when it changes while a clone still shows it; the items themselves should be cheap to
//! clone.

use std::fmt::Debug;
use std::slice;
use std::sync::Arc;

/// The most items of a leaf, and children of a branch: few enough that copying a node is cheap.
const MOST: usize = 32;

/// A node that shrinks to this is joined with its neighbour, if both fit into one.
const FEW: usize = MOST / 4;

/// An item with the key that orders it.
pub(crate) trait Keyed: Clone {
    /// What items are ordered by.
    type Key: Ord + Clone + Debug;
    /// This item's.
    fn key(&self) -> &Self::Key;
}

/// Items in the order of their keys, each key once.
#[derive(Clone, Debug)]
pub(crate) struct Tree<T: Keyed> {
    root: Arc<Node<T>>,
}

#[derive(Clone, Debug)]
enum Node<T: Keyed> {
    Leaf(Vec<T>),
    Branch(Vec<Child<T>>),
}

#[derive(Clone, Debug)]
struct Child<T: Keyed> {
    /// No key below it is smaller.
    first: T::Key,
    /// Items below it.
    count: usize,
    node: Arc<Node<T>>,
}

impl<T: Keyed> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())) }
    }
}

impl<T: Keyed> Tree<T> {
    /// The item of a key.
    pub(crate) fn get(&self, key: &T::Key) -> Option<&T> {
        self.iter_from(|other| other < key).next().filter(|item| item.key() == key)
    }

    /// How many items lie before a place: those of whose keys `before` is true. It must be true of every key that is
    /// smaller than one of which it is.
    pub(crate) fn position(&self, before: impl Fn(&T::Key) -> bool) -> usize {
        let (mut node, mut count) = (&*self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return count + items.partition_point(|item| before(item.key())),
                Node::Branch(children) => {
                    let index = last_before(children, &before);
                    count += children[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &children[index].node;
                }
            }
        }
    }

    /// The items from a place on, see [`Tree::position`].
    pub(crate) fn iter_from(&self, before: impl Fn(&T::Key) -> bool) -> Iter<'_, T> {
        let (mut node, mut above) = (&*self.root, Vec::new());
        loop {
            match node {
                Node::Leaf(items) => {
                    let start = items.partition_point(|item| before(item.key()));
                    return Iter { above, leaf: items[start..].iter() };
                }
                Node::Branch(children) => {
                    let index = last_before(children, &before);
                    above.push(children[index + 1..].iter());
                    node = &children[index].node;
                }
            }
        }
    }

    /// All items.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        self.iter_from(|_| false)
    }

    /// Adds an item; returns the one whose place it takes.
    pub(crate) fn insert(&mut self, item: T) -> Option<T> {
        let (replaced, beside) = Arc::make_mut(&mut self.root).insert(item);
        if let Some(beside) = beside {
            let left = std::mem::take(self).root;
            let children = left.first().map(|first| Child { first, count: left.count(), node: left });
            self.root = Arc::new(Node::Branch(children.into_iter().chain([beside]).collect()));
        }
        replaced
    }

    /// Takes the item of a key out.
    pub(crate) fn remove(&mut self, key: &T::Key) -> Option<T> {
        // What is not there must not cost a copy.
        self.get(key)?;
        let removed = Arc::make_mut(&mut self.root).remove(key);
        while let Node::Branch(children) = &*self.root {
            match &children[..] {
                [] => *self = Self::default(),
                [only] => self.root = Arc::clone(&only.node),
                _ => break,
            }
        }
        removed
    }
}

/// Index of the last child that begins before the place, or of the first: the place lies in it, or at its end.
fn last_before<T: Keyed>(children: &[Child<T>], before: impl Fn(&T::Key) -> bool) -> usize {
    children.partition_point(|child| before(&child.first)).saturating_sub(1)
}

impl<T: Keyed> Node<T> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(children) => children.len(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    fn first(&self) -> Option<T::Key> {
        match self {
            Self::Leaf(items) => items.first().map(|item| item.key().clone()),
            Self::Branch(children) => children.first().map(|child| child.first.clone()),
        }
    }

    fn child(self) -> Option<Child<T>> {
        Some(Child { first: self.first()?, count: self.count(), node: Arc::new(self) })
    }

    /// The item that was replaced, and what did not fit: a node to the right of this one.
    fn insert(&mut self, item: T) -> (Option<T>, Option<Child<T>>) {
        match self {
            Self::Leaf(items) => match items.binary_search_by(|other| other.key().cmp(item.key())) {
                Ok(index) => (Some(std::mem::replace(&mut items[index], item)), None),
                Err(index) => (None, put(items, index, item).and_then(|rest| Self::Leaf(rest).child())),
            },
            Self::Branch(children) => {
                let index = last_before(children, |first| first <= item.key());
                let child = &mut children[index];
                if *item.key() < child.first {
                    child.first = item.key().clone();
                }
                let (replaced, beside) = Arc::make_mut(&mut child.node).insert(item);
                child.count = child.node.count();
                let rest = beside.and_then(|beside| put(children, index + 1, beside));
                (replaced, rest.and_then(|rest| Self::Branch(rest).child()))
            }
        }
    }

    fn remove(&mut self, key: &T::Key) -> Option<T> {
        match self {
            Self::Leaf(items) => {
                let index = items.binary_search_by(|other| other.key().cmp(key)).ok()?;
                Some(items.remove(index))
            }
            Self::Branch(children) => {
                let index = last_before(children, |first| first <= key);
                let child = children.get_mut(index)?;
                let removed = Arc::make_mut(&mut child.node).remove(key)?;
                child.count -= 1;
                if child.count == 0 {
                    children.remove(index);
                } else if child.node.len() <= FEW {
                    join(children, index.min(children.len().saturating_sub(2)));
                }
                Some(removed)
            }
        }
    }
}

/// Inserts into a node's list; what does not fit is returned. Who fills a tree in order fills its nodes.
fn put<I>(list: &mut Vec<I>, index: usize, item: I) -> Option<Vec<I>> {
    if list.len() < MOST {
        list.reserve_exact(1);
        list.insert(index, item);
        return None;
    }
    if index == list.len() {
        return Some(vec![item]);
    }
    let mut rest = list.split_off(MOST / 2);
    match index.checked_sub(MOST / 2) {
        Some(index) => rest.insert(index, item),
        None => list.insert(index, item),
    }
    list.shrink_to_fit();
    Some(rest)
}

/// Makes one child of this one and the next, if they fit into one.
fn join<T: Keyed>(children: &mut Vec<Child<T>>, index: usize) {
    let Some([left, right]) = children.get_mut(index..index + 2) else { return };
    if left.node.len() + right.node.len() > MOST {
        return;
    }
    match (Arc::make_mut(&mut left.node), &*right.node) {
        (Node::Leaf(items), Node::Leaf(more)) => items.extend_from_slice(more),
        (Node::Branch(children), Node::Branch(more)) => children.extend_from_slice(more),
        // All leaves are equally deep.
        _ => return,
    }
    left.count += right.count;
    children.remove(index + 1);
}

/// Items in order.
#[derive(Debug)]
pub(crate) struct Iter<'a, T: Keyed> {
    /// What is left of each branch above the leaf, from the root on.
    above: Vec<slice::Iter<'a, Child<T>>>,
    leaf: slice::Iter<'a, T>,
}

impl<'a, T: Keyed> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.leaf.next() {
                return Some(item);
            }
            let mut node = loop {
                match self.above.last_mut()?.next() {
                    Some(child) => break &*child.node,
                    None => drop(self.above.pop()),
                }
            };
            while let Node::Branch(children) = node {
                let mut rest = children.iter();
                let Some(first) = rest.next() else { break };
                self.above.push(rest);
                node = &first.node;
            }
            if let Node::Leaf(items) = node {
                self.leaf = items.iter();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Keyed for (u16, u16) {
        type Key = u16;

        fn key(&self) -> &u16 {
            &self.0
        }
    }

    /// Leaves are equally deep, no node is empty but the root, and counts and first keys are right.
    fn depth(node: &Node<(u16, u16)>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Branch(children) => {
                assert!((1..=MOST).contains(&children.len()), "{}", children.len());
                let depths: Vec<usize> = children.iter().map(|child| depth(&child.node)).collect();
                for child in children {
                    assert!((1..=MOST).contains(&child.node.len()));
                    assert_eq!(child.count, child.node.count());
                    assert!(child.node.first().is_some_and(|first| child.first <= first));
                }
                assert!(depths.iter().all(|other| *other == depths[0]), "{depths:?}");
                depths[0] + 1
            }
        }
    }

    fn check(tree: &Tree<(u16, u16)>, model: &BTreeMap<u16, u16>) {
        depth(&tree.root);
        assert!(tree.iter().copied().eq(model.iter().map(|(key, value)| (*key, *value))));
        for place in (0..2200).step_by(97) {
            assert_eq!(tree.position(|key| *key < place), model.range(..place).count());
            assert_eq!(tree.get(&place).map(|item| item.1), model.get(&place).copied());
            let from = tree.iter_from(|key| *key <= place).next().map(|item| item.0);
            assert_eq!(from, model.range(place + 1..).next().map(|(key, _)| *key));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn is_an_ordered_map(ops in prop::collection::vec((0_u16..2000, any::<u16>(), 0_u8..5), 0..6000)) {
            let (mut tree, mut model) = (Tree::<(u16, u16)>::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for (number, (key, value, what)) in ops.into_iter().enumerate() {
                // First it grows, then it shrinks.
                if usize::from(what) < 2 + number / 2000 {
                    prop_assert_eq!(tree.remove(&key).map(|item| item.1), model.remove(&key));
                } else {
                    prop_assert_eq!(tree.insert((key, value)).map(|item| item.1), model.insert(key, value));
                }
                if number % 1500 == 0 {
                    kept.push((tree.clone(), model.clone()));
                }
            }
            kept.push((tree, model));
            kept.iter().for_each(|(tree, model)| check(tree, model));
        }
    }

    #[test]
    fn filled_in_order_and_emptied() {
        let (mut tree, mut model) = (Tree::<(u16, u16)>::default(), BTreeMap::new());
        for key in 0..2000 {
            tree.insert((key, key));
            model.insert(key, key);
        }
        check(&tree, &model);
        let Node::Branch(children) = &*tree.root else { panic!("one leaf does not hold all") };
        assert!(children[..children.len() - 1].iter().all(|child| child.node.len() == MOST));
        for key in (0..2000).rev() {
            assert_eq!(tree.remove(&key), Some((key, key)));
        }
        assert_eq!((tree.iter().next(), tree.position(|_| true)), (None, 0));
        tree.insert((1, 1));
        assert_eq!(tree.get(&1), Some(&(1, 1)));
    }
}
