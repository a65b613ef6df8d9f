//! Request bodies → objects.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::protobuf::{self, ProtobufError};
use skiff_machinery::strict::{self, DecodeFailure, Decoded};
use skiff_machinery::{Exchange, FieldError, FieldErrors, GroupVersion, Object, Strategy, Subresource, go};

use skiff_kinds::former;
use skiff_schema::Root;

use super::call::Call;
use super::problems::{YAML_PROBLEMS, report, report_foreign};
use super::told::{Told, Unrecognized, not_registered, unrecognized};
use super::yaml::{self, Text};
use crate::errors::{ApiError, Subject};
use crate::query::FieldValidation;

const BODIES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The text of a body in JSON or YAML.
pub(super) fn text(content_type: &str, body: &Bytes) -> Result<Result<Text, Unrecognized>, ApiError> {
    match content_type {
        "" | "application/json" => Ok(Ok(Text { json: body.clone(), repeated: None })),
        "application/yaml" | "application/apply-patch+yaml" => Ok(yaml::to_json(body)),
        _ => Err(ApiError::UnsupportedMediaType(BODIES)),
    }
}

/// A body as DeleteOptions. A body that is something else deletes nothing.
pub(crate) fn delete_options(call: &Call, content_type: &str, body: &Bytes) -> Result<Object, ApiError> {
    let refuse = |why: &dyn fmt::Display| ApiError::BadRequest(why.to_string());
    let root = call.kind.root.sibling(DELETE_OPTIONS);
    let root = root.ok_or_else(|| refuse(&"the schema has no DeleteOptions"))?;
    if content_type == protobuf::CONTENT_TYPE {
        return protobuf::decode(body, &root).map_err(|error| refuse(&error));
    }
    let text = text(content_type, body)?.map_err(|why| refuse(&why))?.json;
    if text.trim_ascii() == b"null" {
        return Ok(Object::default());
    }
    let told = Told::read(&text).map_err(|why| refuse(&why))?;
    if !matches!(&*told.kind, "" | "DeleteOptions") {
        return Err(refuse(&not_registered(&told.kind, &told.api_version)));
    }
    Ok(strict::decode(&text, &root).map_err(|failure| refuse(&failure))?.object)
}

/// A body as an object of the call's kind: typed, checked for unknown fields, with `apiVersion` and `kind`.
pub(crate) fn object(call: &Call, body: &Bytes) -> Result<Object, ApiError> {
    let expected = Expected::object(call);
    let mut object = typed(call, body, &expected)?;
    identify(call, &mut object);
    call.note_sent(&object);
    Ok(object)
}

/// What a body has to be.
pub(super) struct Expected<'e> {
    /// Who reads whole objects of the kind; none for what subresources exchange.
    strategy: Option<&'e dyn Strategy>,
    gv: &'e GroupVersion,
    kind: &'e str,
    root: &'e Root,
    /// Whether another version of the group will do.
    any_version: bool,
}

impl<'e> Expected<'e> {
    pub(super) fn object(call: &'e Call) -> Self {
        let kind = &call.kind;
        Self {
            strategy: Some(&*kind.strategy),
            gv: &kind.gv,
            kind: &kind.names.kind,
            root: &kind.root,
            any_version: false,
        }
    }

    fn exchange(exchange: &'e Exchange) -> Result<Self, ApiError> {
        let root = exchange.root.as_ref();
        let root = root.ok_or_else(|| ApiError::BadRequest(format!("{} has no body", exchange.kind)))?;
        Ok(Self { strategy: None, gv: &exchange.gv, kind: &exchange.kind, root, any_version: true })
    }

    fn refuse(&self, why: &dyn fmt::Display) -> ApiError {
        let Self { kind, gv, .. } = self;
        let version = &gv.version;
        ApiError::BadRequest(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    }

    /// Whether objects have to say themselves what they are.
    fn is_custom(&self) -> bool {
        self.strategy.is_some_and(|strategy| !strategy.is_typed())
    }

    pub(super) fn decode(&self, text: &[u8]) -> Result<Decoded, DecodeFailure> {
        match self.strategy {
            Some(strategy) => strategy.decode(text, self.root),
            None => strict::decode(text, self.root),
        }
    }

    fn prune(&self, tree: Value) -> Result<Decoded, DecodeFailure> {
        match self.strategy {
            Some(strategy) => strategy.prune(tree, self.root),
            None => strict::prune(tree, self.root),
        }
    }
}

/// A body as what a subresource exchanges, e.g. a Scale or a Binding.
pub(crate) fn exchanged(call: &Call, subresource: Subresource, body: &Bytes) -> Result<Object, ApiError> {
    let exchange = call.kind.exchange(subresource);
    let object = typed(call, body, &Expected::exchange(&exchange)?)?;
    call.record.object(|| object.clone());
    Ok(object)
}

/// What a patch made of what a subresource exchanges, checked as a body would be; `problems` are those of the patch itself, `shown` is
/// what an answer shows of it.
pub(crate) fn exchanged_patch(
    call: &Call,
    subresource: Subresource,
    patched: Object,
    problems: Vec<String>,
    shown: &dyn Fn(&Root) -> String,
) -> Result<Object, ApiError> {
    let exchange = call.kind.exchange(subresource);
    let expected = Expected::exchange(&exchange)?;
    check_patched(call, &expected, patched, problems, &|| shown(expected.root))
}

/// Checks what became of an object by a patch; problems are worded as for patches.
fn check_patched(
    call: &Call,
    expected: &Expected<'_>,
    patched: Object,
    mut problems: Vec<String>,
    shown: &dyn Fn() -> String,
) -> Result<Object, ApiError> {
    let refuse = |detail: String| refuse_patched(call, shown(), detail);
    let told = Told::of(&patched);
    if expected.is_custom() {
        if told.kind.is_empty() {
            return Err(refuse(format!("Object 'Kind' is missing in '{}'", shown())));
        }
        if told.api_version.is_empty() {
            let why = "Object 'apiVersion' is missing in 'object has no apiVersion field'";
            return Err(ApiError::Internal(why.to_owned()));
        }
    } else if let Some(Mismatch { why, .. }) = mismatch(call, &told, expected, None) {
        return Err(refuse(why));
    }
    let decoded = expected.prune(patched.into_value()).map_err(|failure| refuse(failure.to_string()))?;
    problems.extend(decoded.problems);
    report(call, problems, |problems| refuse(format!("strict decoding error: {problems}")))?;
    check_custom_kind(&decoded.object, expected)?;
    Ok(decoded.object)
}

/// Refuses what a patch made, of which `shown` is shown.
pub(crate) fn refuse_patched(call: &Call, shown: String, detail: String) -> ApiError {
    let error = FieldError::invalid("patch", presentable(call, shown), detail);
    ApiError::invalid(Subject::default(), vec![error])
}

/// The most of a client's text that an answer shows, in bytes. Answers are read by people, and end up in the logs of clients.
const SHOWN: usize = 16 << 10;

/// A client's text as an answer may show it: cut, and nothing of a Secret.
fn presentable(call: &Call, mut text: String) -> String {
    if call.kind.strategy.is_confidential() {
        return "(a Secret's content is not shown)".to_owned();
    }
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push('…');
    }
    text
}

/// An object that says it is of another kind than is expected.
struct Mismatch {
    kind: String,
    /// The version, without the group.
    version: String,
    why: String,
}

/// What is wrong with what an object says that it is; `text` is the JSON that it was, if it was that.
fn mismatch(call: &Call, told: &Told, expected: &Expected<'_>, text: Option<&[u8]>) -> Option<Mismatch> {
    let Expected { gv, kind, .. } = *expected;
    let (given, version) = (told.kind.as_str(), told.api_version.as_str());
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let same_version =
        version.is_empty() || version == gv.to_string() || (expected.any_version && group == gv.group);
    if (given.is_empty() || given == kind) && same_version {
        return None;
    }
    let given = if given.is_empty() { kind } else { given };
    let (version, number) =
        if version.is_empty() { (gv.to_string(), &*gv.version) } else { (version.to_owned(), number) };
    let why = match registered(call, given, &version) {
        None => not_registered(given, &version),
        Some(other) => {
            // It is read as what it says that it is, and only then found to be something else.
            let wrong = text.zip(other).and_then(|(text, root)| strict::decode(text, &root).err());
            let family = gv.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
            let unknown =
                || format!("converting ({number}.{given}) to ({family}.{kind}): unknown conversion");
            wrong.map_or_else(unknown, |wrong| wrong.to_string())
        }
    };
    Some(Mismatch { kind: given.to_owned(), version: number.to_owned(), why })
}

fn check_kind(
    call: &Call,
    told: &Told,
    expected: &Expected<'_>,
    text: Option<&[u8]>,
) -> Result<(), ApiError> {
    if expected.is_custom() {
        return check_version(told, expected);
    }
    if expected.strategy.is_some()
        && (told.kind.is_empty() || told.kind == expected.kind)
        && former::is_version_of(&call.kind, &told.api_version)
    {
        return check_version(told, expected);
    }
    match mismatch(call, told, expected, text) {
        None => Ok(()),
        Some(Mismatch { kind, version, why }) => Err(ApiError::BadRequest(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {why}",
            expected.kind
        ))),
    }
}

/// Refuses an object of another version.
fn check_version(told: &Told, expected: &Expected<'_>) -> Result<(), ApiError> {
    let (given, wanted) = (&told.api_version, expected.gv.to_string());
    if *given == wanted {
        return Ok(());
    }
    let text =
        format!("the API version in the data ({given}) does not match the expected API version ({wanted})");
    Err(ApiError::BadRequest(text))
}

/// Refuses a custom object of another kind or version.
fn check_custom_kind(object: &Object, expected: &Expected<'_>) -> Result<(), ApiError> {
    if !expected.is_custom() {
        return Ok(());
    }
    let mut errors = FieldErrors::new();
    let version = expected.gv.to_string();
    for (field, given, wanted) in
        [("kind", object.kind(), expected.kind), ("apiVersion", object.api_version(), &version)]
    {
        if given != wanted {
            errors.push(FieldError::invalid(field, given, format!("must be {wanted}")));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
    let (kind, name) = (object.kind().into(), object.name().into());
    Err(ApiError::invalid(Subject { group: group.into(), kind, name, ..Subject::default() }, errors))
}

/// Whether there is a kind of this name in a version, and the definition of its objects if it is one that is served.
fn registered(call: &Call, given: &str, version: &str) -> Option<Option<Root>> {
    /// What every version has beside its own kinds.
    const EVERYWHERE: [&str; 8] = [
        "CreateOptions",
        "DeleteOptions",
        "GetOptions",
        "ListOptions",
        "PatchOptions",
        "Status",
        "UpdateOptions",
        "WatchEvent",
    ];
    let kinds = call.catalogue.iter().filter(|kind| kind.gv.to_string() == version);
    let kinds: Vec<(&str, &Root)> = kinds.map(|kind| (&*kind.names.kind, &kind.root)).collect();
    if let Some((_, root)) = kinds.iter().find(|(name, _)| *name == given) {
        return Some(Some((*root).clone()));
    }
    let is_list = given.strip_suffix("List").is_some_and(|item| kinds.iter().any(|(name, _)| *name == item));
    let is_common = !kinds.is_empty() && EVERYWHERE.contains(&given);
    (is_list || is_common || (version, given) == ("v1", "List")).then_some(None)
}

fn typed(call: &Call, body: &Bytes, expected: &Expected<'_>) -> Result<Object, ApiError> {
    let Expected { kind, root, .. } = *expected;
    if call.content_type != protobuf::CONTENT_TYPE {
        let text = text(&call.content_type, body)?.map_err(|why| unrecognized(kind, &why, body))?;
        return from_text(call, text, body, expected);
    }
    let object = protobuf::decode(body, root).map_err(|error| match error {
        ProtobufError::Magic => unrecognized(kind, &error.to_string(), body),
        _ => expected.refuse(&error),
    })?;
    check_kind(call, &Told::of(&object), expected, None)?;
    let decoded = expected.prune(object.into_value()).map_err(|failure| expected.refuse(&failure))?;
    accept(call, decoded, None, expected)
}

/// The object of a text that was made from `body`, which answers show.
pub(super) fn from_text(
    call: &Call,
    text: Text,
    body: &Bytes,
    expected: &Expected<'_>,
) -> Result<Object, ApiError> {
    let kind = expected.kind;
    let told = Told::read(&text.json).map_err(|why| unrecognized(kind, &why, body))?;
    if expected.is_custom() && told.kind.is_empty() {
        let why = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(&text.json));
        return Err(match call.query.field_validation() {
            FieldValidation::Ignore => expected.refuse(&why),
            FieldValidation::Warn | FieldValidation::Strict => unrecognized(kind, &why, body),
        });
    }
    if expected.is_custom()
        && told.is_of_group(&expected.gv.group)
        && told.api_version != expected.gv.to_string()
    {
        report_foreign(call, &text.json, expected.kind)?;
    }
    check_kind(call, &told, expected, Some(&text.json[..]))?;
    // Nothing is read as an object of which nothing is set.
    let json = if text.json.trim_ascii() == b"null" { &b"{}"[..] } else { &text.json[..] };
    let decoded = expected.decode(json).map_err(|failure| match go::syntax_error(json) {
        // Not told before: it is nested too deeply to be JSON for Go.
        Some(why) => unrecognized(kind, &format!("couldn't get version/kind; json parse error: {why}"), body),
        None => expected.refuse(&failure),
    })?;
    accept(call, decoded, text.repeated, expected)
}

fn accept(
    call: &Call,
    decoded: Decoded,
    repeated: Option<String>,
    expected: &Expected<'_>,
) -> Result<Object, ApiError> {
    let repeated = repeated.map(|problem| format!("{YAML_PROBLEMS}{problem}"));
    let problems = repeated.into_iter().chain(decoded.problems).collect();
    report(call, problems, |problems| expected.refuse(&format_args!("strict decoding error: {problems}")))?;
    check_custom_kind(&decoded.object, expected)?;
    Ok(decoded.object)
}

/// A patched object, checked as a body would be; `problems` are those of the patch itself, `shown` is what an answer shows of the object
/// where it is wrong.
pub(crate) fn patched(
    call: &Call,
    object: Object,
    problems: Vec<String>,
    shown: &dyn Fn() -> String,
) -> Result<Object, ApiError> {
    let mut object = check_patched(call, &Expected::object(call), object, problems, shown)?;
    identify(call, &mut object);
    Ok(object)
}

/// Fills in `apiVersion` and `kind` when they are missing.
pub(super) fn identify(call: &Call, object: &mut Object) {
    object.set(&["apiVersion"], call.kind.gv.to_string());
    object.set(&["kind"], call.kind.names.kind.as_ref());
}
