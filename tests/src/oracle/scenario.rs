//! Scenarios as they are written down.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Some requests, one after the other, in a namespace of their own.
#[derive(Debug, Deserialize, Serialize)]
pub struct Scenario {
    /// `area/subject/case`.
    pub id: String,
    /// What it is about: `apply`, `rbac`, …
    pub area: String,
    /// The kind that has to be served, such as `apps/v1 Deployment`; `-` for none.
    pub kind: String,
    /// Further kinds that have to be served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Whether `managedFields` are compared where the area does not say so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub managed: bool,
    /// Paths of what is to be deleted afterwards, besides what the steps create.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleanup: Vec<String>,
    /// The requests.
    pub steps: Vec<Step>,
}

/// One request and its answer.
///
/// In the path, the headers and the body, `{NS}` stands for the scenario's namespace and `{S2.metadata.uid}` for a
/// value of the answer to step 2.
#[derive(Debug, Deserialize, Serialize)]
pub struct Step {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers besides the usual ones; null leaves a usual one out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Option<String>>,
    /// A body in JSON, as it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// A body that is not JSON, or not well-formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// A body that is too long to be written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<Pad>,
    /// Sent without a client certificate.
    #[serde(default, skip_serializing_if = "is_false")]
    pub anon: bool,
    /// The answer is a watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Codes of which one is waited for, where a server answers from caches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<u16>,
    /// Beginnings of paths that are not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// What kube-apiserver answered.
    pub expect: Expected,
}

impl Step {
    /// The body as text, before anything is put in.
    pub(super) fn content(&self) -> Option<String> {
        let padded = |pad: &Pad| pad.body.get().replace("{PAD}", &"a".repeat(pad.bytes));
        self.body
            .as_ref()
            .map(|json| json.get().to_owned())
            .or_else(|| self.raw.clone())
            .or_else(|| self.pad.as_ref().map(padded))
    }
}

/// A body with a long text in it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Pad {
    /// The body; `{PAD}` stands for the text.
    pub body: Box<RawValue>,
    /// How long the text is.
    pub bytes: usize,
}

/// When a watch has been watched enough.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Watch {
    /// After so many events.
    pub events: usize,
    /// After so many seconds.
    pub seconds: f64,
}

/// An answer after normalisation.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Expected {
    /// The status code.
    pub code: u16,
    /// The headers that are compared.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub headers: Value,
    /// The body: JSON, `{"text": …}`, the first bytes of something else, or null.
    pub body: Value,
}

fn is_empty(headers: &Value) -> bool {
    headers.as_object().is_none_or(serde_json::Map::is_empty)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Where the recorded scenarios are kept.
#[must_use]
pub(super) fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/oracle/scenarios.jsonl.zst"))
}

/// All recorded scenarios.
#[must_use]
pub fn recorded() -> Vec<Scenario> {
    let file = std::fs::File::open(file()).unwrap();
    let lines = std::io::BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}
