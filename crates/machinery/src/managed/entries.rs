//! The list in `metadata.managedFields`.

use serde_json::{Map, Value, json};

use super::set::Set;
use super::writer::{Operation, Writer};
use crate::Object;

/// More plain writers than this are folded into one entry.
const MAX_UPDATERS: usize = 10;
/// The manager of that entry.
const ANCIENT: &str = "ancient-changes";

/// The entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries(Vec<Entry>);

/// One manager's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    /// RFC 3339 to the second, or empty.
    pub(super) time: String,
    pub(super) subresource: String,
    pub(super) fields: Set,
}

impl Entry {
    fn new(operation: Operation, api_version: &str, writer: &Writer<'_>) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            time: String::new(),
            subresource: writer.subresource.to_owned(),
            fields: Set::default(),
        }
    }

    /// Whether two entries are of the same manager; an applier keeps its entry across versions.
    pub(super) fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().unwrap_or("").to_owned();
        let operation = match value["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let fields = match &value["fieldsV1"] {
            Value::Null => Set::default(),
            fields => Set::from_value(fields)?,
        };
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            time: text("time"),
            subresource: text("subresource"),
            fields,
        })
    }

    fn into_value(self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, text: String| {
            if !text.is_empty() {
                map.insert(name.to_owned(), text.into());
            }
        };
        put("manager", self.manager);
        put("operation", self.operation.as_str().to_owned());
        put("apiVersion", self.api_version);
        put("time", self.time);
        put("subresource", self.subresource);
        put("fieldsType", "FieldsV1".to_owned());
        map.insert("fieldsV1".to_owned(), self.fields.into_value());
        Value::Object(map)
    }
}

impl Entries {
    /// The entries of an object; none if they cannot be read. Of two of the same writer, which a Scale may leave, the last counts.
    pub(super) fn of(object: &Object) -> Self {
        let all = Self::read(object.get(&["metadata", "managedFields"])).unwrap_or_default().0;
        let mut entries: Vec<Entry> = Vec::with_capacity(all.len());
        for entry in all {
            entries.retain(|other| !other.same_manager(&entry));
            entries.push(entry);
        }
        Self(entries)
    }

    /// The entries from which a plain write starts.
    pub(super) fn of_update(object: &Object, old: Option<&Object>, may_edit: bool) -> Self {
        let live = || old.map(Self::of).unwrap_or_default();
        if !may_edit {
            return live();
        }
        let given = object.get(&["metadata", "managedFields"]);
        // A list of one empty entry is how a client asks to forget all managers.
        if given == Some(&json!([{}])) {
            return Self::default();
        }
        Self::read(given).filter(|entries| !entries.0.is_empty()).unwrap_or_else(live)
    }

    fn read(list: Option<&Value>) -> Option<Self> {
        list?.as_array()?.iter().map(Entry::from_value).collect::<Option<_>>().map(Self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// The set of the applier that `writer` is.
    pub(super) fn applied(&self, writer: &Writer<'_>) -> Set {
        let probe = Entry::new(Operation::Apply, "", writer);
        self.0.iter().find(|entry| entry.same_manager(&probe)).map(|e| e.fields.clone()).unwrap_or_default()
    }

    /// Whether an entry is that of the applier `writer`.
    pub(super) fn is_applier(entry: &Entry, writer: &Writer<'_>) -> bool {
        entry.same_manager(&Entry::new(Operation::Apply, "", writer))
    }

    /// Changes every set and drops those that become empty.
    pub(super) fn retain_fields(&mut self, keep: impl Fn(&Set) -> Set) {
        for entry in &mut self.0 {
            entry.fields = keep(&entry.fields);
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Adds fields to the writer's entry.
    pub(super) fn add(&mut self, operation: Operation, api_version: &str, writer: &Writer<'_>, fields: Set) {
        if fields.is_empty() {
            return;
        }
        let mut entry = Entry::new(operation, api_version, writer);
        if let Some(at) = self.0.iter().position(|other| other.same_manager(&entry)) {
            entry.fields = self.0.swap_remove(at).fields;
        }
        entry.fields = fields.union(&entry.fields);
        entry.time = writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.0.push(entry);
        self.sort();
        self.fold_oldest();
    }

    /// Replaces the fields of an applier's entry. Who only came to own what is there already (`same`) has changed nothing at
    /// any time: the entry then keeps the time that it had, which may be none.
    pub(super) fn set_applied(&mut self, api_version: &str, writer: &Writer<'_>, fields: &Set, same: bool) {
        let before = self.clone();
        self.0.retain(|entry| !Self::is_applier(entry, writer));
        self.add(Operation::Apply, api_version, writer, fields.clone());
        if same {
            self.keep_time(&before, writer);
        }
    }

    /// Gives an applier's entry the time that it has in others, which may be none.
    pub(super) fn keep_time(&mut self, others: &Self, writer: &Writer<'_>) {
        let time = others.0.iter().find(|entry| Self::is_applier(entry, writer)).map(|entry| &entry.time);
        if let Some(entry) = self.0.iter_mut().find(|entry| Self::is_applier(entry, writer)) {
            entry.time = time.cloned().unwrap_or_default();
            self.sort();
        }
    }

    /// What becomes of the entries where somebody writes the replicas of the object through its Scale, whose fields are its own:
    /// each plain writer of them has them in an entry apart, for which nobody says when. If they are `changed` they are the
    /// writer's alone; nobody's, if they were nobody's before.
    pub(super) fn scaled(
        &self,
        replicas: &Set,
        api_version: &str,
        writer: &Writer<'_>,
        changed: bool,
    ) -> Self {
        let has = |entry: &&Entry| !entry.fields.common(replicas).is_empty();
        if !self.0.iter().any(|entry| has(&entry)) {
            return self.clone();
        }
        let mut apart: Vec<Entry> = match changed {
            true => vec![Entry::new(Operation::Update, api_version, writer)],
            false => {
                self.0.iter().filter(has).filter(|e| e.operation == Operation::Update).cloned().collect()
            }
        };
        for entry in &mut apart {
            entry.fields = replicas.clone();
            entry.time.clear();
        }
        let mut out = self.clone();
        for entry in &mut out.0 {
            if changed || entry.operation == Operation::Update {
                entry.fields = entry.fields.without(replicas);
            }
        }
        out.0.retain(|entry| !entry.fields.is_empty());
        out.0.append(&mut apart);
        out.sort();
        out
    }

    fn sort(&mut self) {
        fn key(entry: &Entry) -> impl Ord {
            (entry.operation, &entry.time, &entry.manager, &entry.api_version, &entry.subresource)
        }
        skiff_ordered::sort_by(&mut self.0, |one, other| key(one).cmp(&key(other)));
    }

    /// Folds the oldest plain writers of one version together while there are too many.
    fn fold_oldest(&mut self) {
        loop {
            let updaters = self.0.iter().filter(|entry| entry.operation == Operation::Update).count();
            let oldest = self.0.iter().position(|e| e.operation == Operation::Update && e.manager != ANCIENT);
            let (true, Some(oldest)) = (updaters > MAX_UPDATERS, oldest) else { return };
            let entry = self.0.remove(oldest);
            let ancient = Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..entry };
            match self.0.iter_mut().find(|other| other.same_manager(&ancient)) {
                Some(other) => {
                    other.fields = std::mem::take(&mut other.fields).union(&ancient.fields);
                    other.time = ancient.time;
                }
                // The bucket takes the place of the entry, so that one more must go.
                None => self.0.insert(oldest, ancient),
            }
        }
    }

    /// Writes the entries into an object.
    pub(super) fn store(self, object: &mut Object) {
        if self.0.is_empty() {
            object.remove(&["metadata", "managedFields"]);
        } else {
            let list: Vec<Value> = self.0.into_iter().map(Entry::into_value).collect();
            object.set(&["metadata", "managedFields"], list);
        }
    }
}
