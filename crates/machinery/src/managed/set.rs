//! Sets of field paths, and their text form `fieldsV1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;

/// One step of a path, as `fieldsV1` writes it: `f:NAME`, `k:{KEYS}`, `v:VALUE` or `i:INDEX`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element(String);

/// From the root to a field.
pub(super) type Path = Vec<Element>;

/// A set of paths, kept as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(BTreeMap<Element, Node>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Whether the path that ends here is in the set.
    member: bool,
    below: Set,
}

impl Element {
    pub(super) fn field(name: &str) -> Self {
        Self(["f:", name].concat())
    }

    /// An item of a list identified by key fields.
    pub(super) fn key(keys: Map<String, Value>) -> Self {
        Self(format!("k:{}", Value::Object(keys)))
    }

    /// An item of a set of scalars.
    pub(super) fn value(value: &Value) -> Self {
        Self(format!("v:{value}"))
    }

    /// An item of a list that is owned as a whole.
    pub(super) fn index(index: usize) -> Self {
        Self(format!("i:{index}"))
    }

    /// Reads the text form; the JSON in it is brought into one spelling.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let json = || serde_json::from_str::<Value>(rest).ok();
        match kind {
            "f" => Some(Self(text.to_owned())),
            "k" => json().filter(Value::is_object).map(|value| Self(format!("k:{value}"))),
            "v" => json().map(|value| Self(format!("v:{value}"))),
            "i" => rest.parse::<usize>().ok().map(|_| Self(text.to_owned())),
            _ => None,
        }
    }

    /// The name of a field; `None` for an item of a list.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }

    /// As messages name it: `.name`, `[port=80,protocol="TCP"]`, `[="value"]`, `[0]`.
    fn describe(&self) -> String {
        let (kind, rest) = self.0.split_once(':').unwrap_or(("f", &self.0));
        match kind {
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", pairs.join(","))
            }
            "v" => format!("[={rest}]"),
            "i" => format!("[{rest}]"),
            _ => format!(".{rest}"),
        }
    }
}

/// A path as messages name it, e.g. `.spec.ports[port=80,protocol="TCP"].targetPort`.
pub(super) fn describe(path: &[Element]) -> String {
    path.iter().map(Element::describe).collect()
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a subtree under an element; nothing if the subtree is empty and the element no member.
    pub(super) fn graft(&mut self, element: Element, member: bool, below: Self) {
        if member || !below.is_empty() {
            self.0.insert(element, Node { member, below });
        }
    }

    /// Adds one path.
    pub(super) fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.0.entry(first.clone()).or_default();
        match rest {
            [] => node.member = true,
            rest => node.below.insert(rest),
        }
    }

    /// Whether the path or anything below it is in the set.
    pub(super) fn touches(&self, path: &[Element]) -> bool {
        self.node(path).is_some()
    }

    /// What of the set is below an element.
    pub(super) fn below(&self, element: &Element) -> Option<&Self> {
        self.0.get(element).map(|node| &node.below)
    }

    fn node(&self, path: &[Element]) -> Option<&Node> {
        let (first, rest) = path.split_first()?;
        let node = self.0.get(first)?;
        if rest.is_empty() { Some(node) } else { node.below.node(rest) }
    }

    /// The paths of the set: those that end at a level before those that go on below it.
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Path, out: &mut Vec<Path>) {
        for (element, node) in &self.0 {
            prefix.push(element.clone());
            if node.member {
                out.push(prefix.clone());
            }
            prefix.pop();
        }
        for (element, node) in &self.0 {
            prefix.push(element.clone());
            node.below.collect(prefix, out);
            prefix.pop();
        }
    }

    pub(super) fn union(mut self, other: &Self) -> Self {
        for (element, node) in &other.0 {
            let mine = self.0.entry(element.clone()).or_default();
            mine.member |= node.member;
            mine.below = std::mem::take(&mut mine.below).union(&node.below);
        }
        self
    }

    /// Takes away the paths that are in `other`.
    pub(super) fn take_away(&mut self, other: &Self) {
        self.0.retain(|element, node| {
            if let Some(theirs) = other.0.get(element) {
                node.member &= !theirs.member;
                node.below.take_away(&theirs.below);
            }
            node.member || !node.below.is_empty()
        });
    }

    /// The paths that are not also in `other`.
    pub(super) fn without(&self, other: &Self) -> Self {
        self.filtered(other, |mine, theirs| mine && !theirs)
    }

    /// Takes a path away, and all below it.
    pub(super) fn cut(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => drop(self.0.remove(last)),
            [first, rest @ ..] => {
                let Some(node) = self.0.get_mut(first) else { return };
                node.below.cut(rest);
                if !node.member && node.below.is_empty() {
                    self.0.remove(first);
                }
            }
        }
    }

    /// The paths that are in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        self.filtered(other, |mine, theirs| mine && theirs)
    }

    fn filtered(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        let nothing = Node::default();
        let nodes = self.0.iter().filter_map(|(element, mine)| {
            let theirs = other.0.get(element).unwrap_or(&nothing);
            let node = Node {
                member: keep(mine.member, theirs.member),
                below: mine.below.filtered(&theirs.below, keep),
            };
            (node.member || !node.below.is_empty()).then(|| (element.clone(), node))
        });
        Self(nodes.one_by_one())
    }

    /// The `fieldsV1` form.
    pub(super) fn into_value(self) -> Value {
        let nodes = self.0.into_iter().map(|(element, node)| {
            let is_leaf = node.below.is_empty();
            let mut below = node.below.into_value();
            if let (true, false, Value::Object(map)) = (node.member, is_leaf, &mut below) {
                map.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (element.0, below)
        });
        Value::Object(nodes.one_by_one())
    }

    /// Reads the `fieldsV1` form; `None` if it is none.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let mut nodes = BTreeMap::new();
        for (text, below) in value.as_object()? {
            if text == "." {
                continue;
            }
            let member = below.as_object()?.is_empty() || below.get(".").is_some();
            nodes.insert(Element::parse(text)?, Node { member, below: Self::from_value(below)? });
        }
        Some(Self(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> Set {
        Set::from_value(&value).unwrap()
    }

    #[test]
    fn reads_and_writes_fields_v1() {
        let check = |value: Value| assert_eq!(set(value.clone()).into_value(), value);
        check(json!({}));
        check(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {"f:d": {}}}));
        check(
            json!({"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}, "v:\"x\"": {}}}),
        );
        assert_eq!(Set::from_value(&json!({"x": {}})), None);
        assert_eq!(Set::from_value(&json!({"f:a": 1})), None);
        let spelled = json!({"k:{\"protocol\": \"TCP\", \"port\": 80}": {}});
        assert_eq!(set(spelled).into_value(), json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}));
    }

    #[test]
    fn combines() {
        let (a, b) =
            (json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}), json!({"f:a": {"f:b": {}}, "f:d": {}}));
        let (a, b) = (set(a), set(b));
        assert_eq!(a.without(&b).into_value(), json!({"f:a": {}, "f:c": {}}));
        assert_eq!(a.common(&b).into_value(), json!({"f:a": {"f:b": {}}}));
        let all = json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}});
        assert_eq!(a.union(&b).into_value(), all);
    }

    #[test]
    fn describes_paths() {
        let value = json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:port": {}}}}});
        let text: Vec<String> = set(value).paths().iter().map(|p| describe(p)).collect();
        assert_eq!(text, [".spec.ports[port=80,protocol=\"TCP\"].port"]);
    }
}
