//! Update: read, change, check, commit; again when another writer came first. PUT, PATCH and every
//! subresource that changes an object go through [`change`].

use bytes::Bytes;
use http::StatusCode;
use skiff_machinery::{
    Claim, FieldError, FieldErrors, MetadataChecks, Namespace, Object, Subresource, keys, managed::Operation,
};
use skiff_store::{CommitError, Entry, Expect, Op, Txn};

use super::call::Call;
use super::outcome::Outcome;
use super::{allocate, create, decode, delete, metadata, metadata_checks, versions};
use crate::admission;
use crate::admission::quota::Charges;
use crate::admission::review::{Review, Write};
use crate::errors::{ApiError, Subject};
use crate::registry::Registry;

/// How often a change is made again after losing a race. With group commit a round is one fsync, in which
/// one of the racing writers wins.
const RACES: usize = 100;

/// The part of an object that a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but status (where the kind has a status subresource).
    Whole,
    /// `status`, and labels, annotations and finalizers.
    Status,
    /// What the caller of [`change`] changed, or the strategy leaves changed, through this subresource.
    Narrow(Subresource),
}

impl Part {
    /// As in the URL, and in managed fields where the subresource is recorded.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => Subresource::Status.as_str(),
            Self::Narrow(subresource) => subresource.as_str(),
        }
    }

    /// Whether the change counts in the generation and in the managed fields: a pod's assignment to a node does not.
    fn is_tracked(self) -> bool {
        self != Self::Narrow(Subresource::Binding)
    }
}

/// PUT of an object or its status.
pub(crate) async fn update(
    registry: &Registry,
    call: &Call,
    part: Part,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    let mut wanted = decode::object(call, body)?;
    metadata::locate(call, &mut wanted)?;
    metadata::check_name(call, &wanted)?;
    let strategy = &call.kind.strategy;
    let changed = change(registry, call, part, Operation::Update, |_| Ok(wanted.clone())).await;
    match changed {
        Err(ApiError::NotFound(_)) if part == Part::Whole && strategy.creates_on_update() => {
            wanted.remove(&["metadata", "resourceVersion"]);
            create::create_object(registry, call, wanted, Operation::Update).await
        }
        other => other,
    }
}

/// Changes the object that the URL names into what `make` makes of it. `make` gets the object with its
/// `resourceVersion`; if it leaves another one in the result, or another `uid`, that is a precondition that
/// failed.
pub(crate) async fn change(
    registry: &Registry,
    call: &Call,
    part: Part,
    operation: Operation,
    make: impl Fn(&Object) -> Result<Object, ApiError>,
) -> Result<Outcome, ApiError> {
    for _ in 0..RACES {
        let entry = registry.stored_entry(call).await?;
        let old = registry.decoded(call, &versions::shown_one(call, entry.clone()).await?)?;
        let new = make(&old)?;
        check_uid(call, &new, &old)?;
        if !matches!(part, Part::Narrow(_)) {
            check_condition(call, &new)?;
        }
        check_revision(call, &new, &old)?;
        let attempt = Attempt { registry, call, part, operation, entry: &entry, old: &old };
        if let Some(outcome) = attempt.run(new).await? {
            return Ok(outcome);
        }
    }
    Err(ApiError::modified(call.subject(&call.path.name)))
}

/// Refuses a change that does not say of which revision it is, of a kind that wants to know.
fn check_condition(call: &Call, new: &Object) -> Result<(), ApiError> {
    if !matches!(new.resource_version(), "" | "0") || call.kind.strategy.allows_unconditional_update() {
        return Ok(());
    }
    let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
    // Kubernetes puts the resource where the kind belongs.
    let subject = call.subject(&call.path.name);
    let subject = Subject { kind: subject.resource.clone(), ..subject };
    Err(ApiError::invalid(subject, vec![error]))
}

fn check_revision(call: &Call, new: &Object, old: &Object) -> Result<(), ApiError> {
    match new.resource_version() {
        // No precondition.
        "" | "0" => Ok(()),
        version if version == old.resource_version() => Ok(()),
        version if version.parse::<u64>().is_ok() => Err(ApiError::modified(call.subject(&call.path.name))),
        version => {
            Err(ApiError::Unclassified(format!("strconv.ParseUint: parsing {version:?}: invalid syntax")))
        }
    }
}

/// Refuses to change an object that is another one of the same name.
pub(crate) fn check_uid(call: &Call, new: &Object, old: &Object) -> Result<(), ApiError> {
    if new.uid().is_empty() || new.uid() == old.uid() {
        return Ok(());
    }
    // In the words of Kubernetes' store, which tell where it keeps the object.
    let message = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {}",
        keys::registry(&call.kind, Namespace::new(old.namespace()), old.name()),
        new.uid(),
        old.uid()
    );
    Err(ApiError::Conflict { subject: call.subject(&call.path.name), message })
}

/// One try to change an object that was read as `entry`.
struct Attempt<'a> {
    registry: &'a Registry,
    call: &'a Call,
    part: Part,
    operation: Operation,
    entry: &'a Entry,
    old: &'a Object,
}

impl Attempt<'_> {
    /// `None`: another writer came first.
    async fn run(&self, mut new: Object) -> Result<Option<Outcome>, ApiError> {
        let Self { registry, call, old, .. } = *self;
        self.complete(&mut new);
        let said = metadata::own_annotations(&call.kind, &new);
        self.settle(&mut new);
        let tracked = self.part.is_tracked();
        if tracked && self.operation == Operation::Update {
            metadata::track_said(call, &mut new, old, self.part.subresource(), said);
        }
        if admission::admit(self.review(&mut new)).await? {
            self.complete(&mut new);
            self.settle(&mut new);
        }
        let claims = match self.part {
            Part::Whole => Some(allocate::allocate(registry, call, &mut new, Some(old)).await?),
            Part::Status | Part::Narrow(_) => None,
        };
        if tracked {
            metadata::count_generation(&call.kind, &mut new, old, self.part == Part::Whole);
        }
        self.validate(&new)?;
        admission::confirm(self.review(&mut new)).await?;
        let charges = admission::charge(&self.review(&mut new)).await?;
        if self.part == Part::Whole {
            call.warn_of_ignored(&new);
        }
        if call.dry_run {
            return Ok(Some(Outcome::object(StatusCode::OK, new)));
        }
        self.commit(new, claims, &charges).await
    }

    fn review<'r>(&'r self, new: &'r mut Object) -> Review<'r> {
        Review {
            registry: self.registry,
            call: self.call,
            write: Write::Update,
            subresource: self.part.subresource(),
            object: Some(new),
            old: Some(self.old),
            deletion: None,
        }
    }

    /// Puts back what no such request may change, and fills in what is in every object.
    fn complete(&self, new: &mut Object) {
        let (kind, old) = (&self.call.kind, self.old);
        if self.part == Part::Status && !kind.strategy.status_changes_metadata() {
            metadata::restore(new, old);
        }
        metadata::keep(new, old);
        match self.part {
            Part::Whole if kind.has(Subresource::Status) => copy_member(new, old, "status"),
            Part::Status => {
                let members: Vec<String> = new.as_map().keys().chain(old.as_map().keys()).cloned().collect();
                for member in members.iter().filter(|m| !matches!(m.as_str(), "metadata" | "status")) {
                    copy_member(new, old, member);
                }
            }
            Part::Whole | Part::Narrow(_) => {}
        }
        kind.fill(new);
        kind.show(new);
    }

    /// Lets the kind decide what else stays, and what comes of the change.
    fn settle(&self, new: &mut Object) {
        let (strategy, old, cx) = (&self.call.kind.strategy, self.old, self.registry.context(self.call));
        match self.part {
            Part::Whole => strategy.prepare_update(cx, new, old),
            Part::Status => strategy.prepare_status(cx, new, old),
            Part::Narrow(part) => strategy.prepare_part(cx, part, new, old),
        }
    }

    fn validate(&self, new: &Object) -> Result<(), ApiError> {
        let Self { registry, call, old, .. } = *self;
        let strategy = &call.kind.strategy;
        let again = match self.part {
            Part::Whole => strategy.metadata_checks(),
            Part::Status | Part::Narrow(_) => MetadataChecks::Change,
        };
        let mut errors: FieldErrors = metadata_checks::validate_update(&call.kind, again, new, old);
        let part = match self.part {
            Part::Whole => None,
            Part::Status => Some(Subresource::Status),
            Part::Narrow(part) => Some(part),
        };
        let found = strategy.check_change(registry.context(call), part, new, old);
        errors.extend(found.errors);
        // Schemas warn while they are looked at, whatever comes of it.
        let warns = errors.is_empty() || !strategy.is_typed();
        found.warnings.into_iter().filter(|_| warns).for_each(|text| call.warn(text));
        if !errors.is_empty() {
            return Err(ApiError::invalid(call.content_subject(new.name()), errors));
        }
        Ok(())
    }

    async fn commit(
        &self,
        new: Object,
        claims: Option<Vec<Claim>>,
        charges: &Charges,
    ) -> Result<Option<Outcome>, ApiError> {
        let Self { registry, call, entry, old, .. } = *self;
        if old.is_terminating() && delete::is_released(&call.kind, &new) {
            // Whoever updates gets the object back, also when the update was what let it go.
            let removed = delete::remove(registry, call, entry, &new, false, Txn::default()).await?;
            return Ok(removed.map(|_| Outcome::object(StatusCode::OK, new)));
        }
        let versions::Written { stored: value, shown } = versions::written(call, &new).await?;
        // What lies on disk under a key that is about to go is written all the same.
        if entry.value == value[..] && !registry.store.is_stale(entry) {
            return Ok(Some(Outcome::entry(StatusCode::OK, Entry { value: shown.into(), ..entry.clone() })));
        }
        let mut txn = Txn {
            expect: vec![Expect::At(entry.key.clone(), entry.modified)],
            ops: vec![Op::Put { key: entry.key.clone(), value }],
        };
        if let Some(claims) = claims {
            let before = call.kind.strategy.held(old);
            allocate::claim(call, &mut txn, &new, &before, &claims);
        }
        charges.join(&mut txn);
        match registry.store.commit(txn).await {
            Ok(revision) => {
                let written = Entry { value: shown.into(), modified: revision, ..entry.clone() };
                Ok(Some(Outcome::entry(StatusCode::OK, written)))
            }
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

fn copy_member(new: &mut Object, old: &Object, member: &str) {
    match old.get(&[member]) {
        Some(value) => new.set(&[member], value.clone()),
        None => drop(new.remove(&[member])),
    }
}
