//! What differs from kind to kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;
use skiff_schema::Root;
use thiserror::Error;

use crate::names::Form;
use crate::openapi::Publication;
use crate::strict::{self, DecodeFailure, Decoded};
use crate::{FieldErrors, NodePort, NodePorts, Object, Subresource};

/// What a strategy may know besides the objects.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The time of the request.
    pub now: Timestamp,
    /// The cluster's fixed facts.
    pub cluster: &'a ClusterFacts,
    /// Who asks.
    pub requester: Requester<'a>,
}

/// Who makes a request, in Kubernetes' terms.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The user's identity over time; empty if there is none.
    pub uid: &'a str,
    /// The groups that the user is in.
    pub groups: &'a [String],
    /// What else is known of the user.
    pub extra: &'a BTreeMap<String, Vec<String>>,
}

impl Requester<'static> {
    /// A user of no name.
    pub fn nobody() -> Self {
        static NOTHING: BTreeMap<String, Vec<String>> = BTreeMap::new();
        Self { name: "", uid: "", groups: &[], extra: &NOTHING }
    }
}

/// Facts of a cluster that do not change while it runs.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    /// DNS zone, e.g. `cluster.local`.
    pub domain: String,
    /// Node ports handed out.
    pub node_ports: NodePorts,
}

/// A part of the server, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What its check is called.
    pub name: String,
    /// What is wrong with it, if anything is.
    pub failure: Option<String>,
}

/// A name that only one object of the cluster may hold, written in the same transaction as the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Claim {
    /// A Service address; kept as an IPAddress object (KEP-1880).
    Ip(IpAddr),
    /// A node port, for all protocols.
    NodePort(NodePort),
}

/// What is free, seen at one revision. Allocation is decided against this view and holds only if the
/// transaction that writes the claims finds it still true.
pub trait AddressSpace {
    /// The ranges of the ready ServiceCIDRs.
    fn service_cidrs(&self) -> Vec<IpNet>;
    /// Whether the claim is held by some object.
    fn is_taken(&self, claim: Claim) -> bool;
    /// A number in `0..bound`, to choose where a search starts.
    fn pick(&mut self, bound: u64) -> u64;
    /// Whether this is a dry run, in which no search is made.
    fn dry_run(&self) -> bool;
}

/// Why nothing could be allocated.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AllocationError {
    /// The object asks for something that cannot be given: 422.
    #[error("{}", fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid {
        /// The refused fields, in the order in which they were found.
        fields: FieldErrors,
    },
    /// Nothing is left to hand out: 500, and worth a retry once something was freed.
    #[error("{0}")]
    Exhausted(String),
}

/// How long an object may take to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// Removed at once (when no finalizer holds it).
    Immediate,
    /// Marked with `deletionTimestamp = now + seconds` and left for its owner to remove.
    Period(i64),
}

/// What becomes of an object's dependents when it is deleted and nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// The garbage collector deletes them.
    Follow,
    /// They stay and lose their owner: so for kinds from before garbage collection.
    Orphaned,
    /// There are none, whatever the request says of them.
    Unthinkable,
}

/// Which checks of the metadata a kind's validation of a change makes again, after those that are made for every kind.
/// Kubernetes tells an error once for each check, and clients see how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataChecks {
    /// None.
    None,
    /// Those of a whole object.
    Object,
    /// Those of a change.
    Change,
    /// First those of a change, then those of the whole object.
    Both,
    /// The same, but that the `uid` does not change is checked again behind all else.
    Around,
    /// Those of a whole object, twice.
    ObjectTwice,
}

impl MetadataChecks {
    /// Whether those of a change are among them.
    pub fn of_change(self) -> bool {
        matches!(self, Self::Change | Self::Both | Self::Around)
    }

    /// Whether those of a whole object are among them.
    pub fn of_object(self) -> bool {
        matches!(self, Self::Object | Self::Both | Self::Around | Self::ObjectTwice)
    }
}

/// An object of another kind that goes with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Plural name of its kind, which is in the core group, e.g. `endpoints`.
    pub resource: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What checks of a change found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What is refused.
    pub errors: FieldErrors,
    /// Texts for `Warning: 299` headers, for the writer of what is not refused.
    pub warnings: Vec<String>,
}

/// The behaviour of a kind. Every method has the default that most kinds want; the pipeline calls them in
/// the order `default → prepare → allocate → validate`, and takes care of metadata, `resourceVersion`,
/// generation, finalizers and dry run itself.
#[allow(unused_variables, reason = "the names document the defaults")]
pub trait Strategy: Send + Sync + 'static {
    /// Reads the JSON text of a whole object.
    ///
    /// # Errors
    /// When it is no JSON, or has values of a wrong type where that is not a matter of validation.
    fn decode(&self, text: &[u8], root: &Root) -> Result<Decoded, DecodeFailure> {
        strict::decode(text, root)
    }

    /// As [`Strategy::decode`], for a tree: what protobuf, or a patch, made.
    ///
    /// # Errors
    /// As those of [`Strategy::decode`].
    fn prune(&self, tree: Value, root: &Root) -> Result<Decoded, DecodeFailure> {
        strict::prune(tree, root)
    }

    /// Whether objects that were stored before are read with today's defaults and fields, and not as they are.
    fn reads_anew(&self) -> bool {
        false
    }

    /// Whether the text of a stored object of this `apiVersion` is what reading it anew would make of it.
    fn is_settled(&self, text: &[u8], api_version: &str) -> bool {
        false
    }

    /// Gives an object that was stored before today's fields and defaults, see [`Strategy::reads_anew`].
    fn revive(&self, object: &mut Object) {}

    /// The OpenAPI definition of the kind, where its schema does not say all of it.
    fn publish(&self, publication: &Publication<'_>) -> Option<Value> {
        None
    }

    /// Whether the kind is one of Kubernetes' own types. Of others there is no protobuf and no strategic merge, lists
    /// say of each item what it is, and a change of the status changes no metadata.
    fn is_typed(&self) -> bool {
        true
    }

    /// Whether a change through the status subresource may change metadata, too.
    fn status_changes_metadata(&self) -> bool {
        self.is_typed()
    }

    /// Whether what is shown of the status subresource can be a Table.
    fn status_has_table(&self) -> bool {
        true
    }

    /// Whether a change of the status counts in the generation, too.
    fn counts_status(&self) -> bool {
        false
    }

    /// The fields that writes through a part of the object have nothing to say about, so that nobody comes to own them; the part
    /// is as in [`crate::managed::Writer::subresource`].
    fn settled(&self, part: &str) -> &'static [&'static [&'static str]] {
        &[]
    }

    /// The objects of a kind that is not kept, made of how the server's parts are.
    fn made(&self, parts: &[Part]) -> Vec<Object> {
        Vec::new()
    }

    /// Fills defaults; also called on objects read for an update. Must be idempotent.
    fn default(&self, object: &mut Object) {}

    /// Clears what a creator may not set (status) and sets what the server decides.
    fn prepare_create(&self, cx: Context<'_>, object: &mut Object) {
        object.remove(&["status"]);
    }

    /// Restores what an updater may not change silently; the pipeline has already restored `status` from
    /// `old` where the kind has a status subresource.
    fn prepare_update(&self, cx: Context<'_>, new: &mut Object, old: &Object) {}

    /// Whether objects of the kind hold claims; of others nobody asks [`Strategy::allocate`].
    fn allocates(&self) -> bool {
        false
    }

    /// Chooses addresses and ports for fields left to the server, writes them into `object`, and returns
    /// every claim that the object holds afterwards (kept ones included). Errors are final for the request.
    fn allocate(
        &self,
        cx: Context<'_>,
        object: &mut Object,
        old: Option<&Object>,
        space: &mut dyn AddressSpace,
    ) -> Result<Vec<Claim>, AllocationError> {
        Ok(Vec::new())
    }

    /// Every claim that a stored object holds.
    fn held(&self, object: &Object) -> Vec<Claim> {
        Vec::new()
    }

    /// Restores what a change of the status may not change silently besides the rest of the object, which the pipeline has
    /// restored.
    fn prepare_status(&self, cx: Context<'_>, new: &mut Object, old: &Object) {}

    /// Checks an object that is about to be created.
    fn validate(&self, cx: Context<'_>, object: &Object) -> FieldErrors {
        FieldErrors::new()
    }

    /// Checks a change; by default the new object alone.
    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        self.validate(cx, new)
    }

    /// Checks a change through the status subresource.
    fn validate_status(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        FieldErrors::new()
    }

    /// An object as it is with what a subresource writes of it taken from what is wanted, e.g. only the
    /// ephemeral containers.
    fn narrow(&self, part: Subresource, old: &Object, wanted: &Object) -> Object {
        wanted.clone()
    }

    /// Restores what a change through any other subresource may not change silently, and sets what the server decides.
    fn prepare_part(&self, cx: Context<'_>, part: Subresource, new: &mut Object, old: &Object) {}

    /// Checks a change through any other subresource that writes a part of the object, e.g.
    /// `ephemeralcontainers`. [`Strategy::default`] has been called on `new`.
    fn validate_part(&self, cx: Context<'_>, part: Subresource, new: &Object, old: &Object) -> FieldErrors {
        FieldErrors::new()
    }

    /// Checks a change through a subresource, or of the whole object (none), and says what its writer is warned of: by
    /// default by the methods above and below. A strategy whose checks also find the warnings does both at once.
    fn check_change(
        &self,
        cx: Context<'_>,
        part: Option<Subresource>,
        new: &Object,
        old: &Object,
    ) -> Findings {
        let errors = match part {
            None => self.validate_update(cx, new, old),
            Some(Subresource::Status) => self.validate_status(cx, new, old),
            Some(part) => self.validate_part(cx, part, new, old),
        };
        // Nobody is warned of what a status is part of.
        let warns = errors.is_empty() && part != Some(Subresource::Status);
        let warnings = if warns { self.warnings(new, Some(old)) } else { Vec::new() };
        Findings { errors, warnings }
    }

    /// Texts for `Warning: 299` headers.
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        Vec::new()
    }

    /// Puts the errors of a new object, those of its metadata first, into the order in which the kind tells them.
    fn arrange(&self, errors: FieldErrors) -> FieldErrors {
        errors
    }

    /// Annotations that the kind's version adds to objects, for what it has no fields for; metadata alone is shown without them.
    fn added_annotations(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks the form of `metadata.name`; by default a DNS-1123 subdomain.
    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::Subdomain.check("metadata.name", name)
    }

    /// Whether `metadata.generateName` is checked as well, and not only the name that is made of it.
    fn checks_generate_name(&self) -> bool {
        true
    }

    /// What Kubernetes calls the kind's folder in its store, where that is not its resource. Some errors tell it.
    fn folder(&self) -> Option<&'static str> {
        None
    }

    /// Which checks of the metadata are made again when a whole object is changed.
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Both
    }

    /// Whether finalizers without a domain have to be those of Kubernetes itself.
    fn knows_finalizers(&self) -> bool {
        self.is_typed()
    }

    /// How a delete request is to be carried out; `requested` is `gracePeriodSeconds`.
    fn grace(&self, object: &Object, requested: Option<i64>) -> Grace {
        Grace::Immediate
    }

    /// Notes the beginning of a deletion in the object; also on an object that only waits for its end.
    fn mark_deletion(&self, cx: Context<'_>, object: &mut Object) {}

    /// Whether the first request to delete an object of the kind only begins its deletion, even where nothing holds it.
    fn deletes_in_two_steps(&self) -> bool {
        false
    }

    /// Whether something besides `metadata.finalizers` keeps an object that is being deleted.
    fn is_held(&self, object: &Object) -> bool {
        false
    }

    /// Why an object of this name may never be deleted.
    fn stays(&self, name: &str) -> Option<&'static str> {
        None
    }

    /// What dependents do by default when an object of the kind is deleted.
    fn dependents(&self) -> Dependents {
        Dependents::Follow
    }

    /// What is warned of when somebody deletes an object of the kind and does not say what its dependents do.
    fn warns_of_dependents(&self) -> Option<&'static str> {
        None
    }

    /// Whether a deletion answers the object that was deleted, and not a Status.
    fn answers_deleted(&self) -> bool {
        false
    }

    /// Objects that are removed in the same transaction as an object of the kind.
    fn leaves_with(&self, object: &Object) -> Vec<Companion> {
        Vec::new()
    }

    /// Whether what is in objects may not be shown in errors and logs.
    fn is_confidential(&self) -> bool {
        false
    }

    /// Whether the beginning of a deletion counts in the generation.
    fn counts_deletion(&self) -> bool {
        true
    }

    /// Whether a change of labels counts in the generation, too.
    fn counts_labels(&self) -> bool {
        false
    }

    /// Whether a change of annotations counts in the generation, too.
    fn counts_annotations(&self) -> bool {
        false
    }

    /// Whether deletions of the kind may take time at all.
    fn ends_gracefully(&self) -> bool {
        false
    }

    /// Whether Kubernetes answers lists of any age from memory; such are not paged.
    fn is_cached(&self) -> bool {
        true
    }

    /// What is said of a field that a selector names and the kind does not offer.
    fn unselectable(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    /// Whether a PUT to a name that does not exist creates the object.
    fn creates_on_update(&self) -> bool {
        false
    }

    /// Whether a PUT without `resourceVersion` is allowed.
    fn allows_unconditional_update(&self) -> bool {
        true
    }
}
