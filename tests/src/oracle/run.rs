//! Plays one scenario.

use std::sync::LazyLock;
use std::time::Duration;

use hyper::HeaderMap;
use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use super::client::{Answer, Call, Client};
use super::normal::{Normal, is_own_warning};
use super::scenario::{Expected, Scenario, Step};

/// Headers that are compared.
const HEADERS: [&str; 7] =
    ["content-type", "warning", "retry-after", "allow", "www-authenticate", "location", "accept-patch"];

/// How long an answer is waited for that comes from a server's caches, and how often it is asked for.
const PATIENCE: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(150);

static REFERENCE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{S(\d+)((?:\.[A-Za-z0-9_]+)+)\}").unwrap());

/// Plays a scenario in a namespace that it makes. The answers, one for each step; fewer when one did not come that
/// was waited for.
pub(super) async fn play(
    client: &mut Client,
    scenario: &Scenario,
    namespace: &str,
) -> Result<Vec<Expected>, String> {
    let named = |name: &str| json!({"metadata": {"name": name}}).to_string();
    let made = client.send(&Call::new("POST", "/api/v1/namespaces", Some(&named(namespace)))).await?;
    if made.code != 201 {
        return Err(format!("the namespace {namespace} cannot be made: {}", made.code));
    }
    // A controller may have been faster.
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    client.send(&Call::new("POST", &accounts, Some(&named("default")))).await?;
    let normal = Normal::new(scenario, namespace);
    let mut run = Run { client, namespace, normal, values: Vec::new(), created: Vec::new() };
    let answers = run.steps(scenario).await;
    run.clean(scenario).await?;
    answers
}

struct Run<'a> {
    client: &'a mut Client,
    namespace: &'a str,
    normal: Normal,
    /// The bodies of the answers so far, as they came.
    values: Vec<Value>,
    /// Paths of what was created and does not go with the namespace.
    created: Vec<String>,
}

impl Run<'_> {
    async fn steps(&mut self, scenario: &Scenario) -> Result<Vec<Expected>, String> {
        let mut answers = Vec::new();
        for step in &scenario.steps {
            let call = self.call(step);
            let answer = self.answer(step, &call).await?;
            let hopeless = !step.until.is_empty() && !step.until.contains(&answer.code);
            let value = decoded(&answer.body);
            self.remember(&call, answer.code, &value);
            let headers = self.normal.value(&headers(&answer.headers));
            let body = self.normal.value(&value);
            answers.push(Expected { code: answer.code, headers, body });
            self.values.push(value);
            if hopeless {
                break;
            }
        }
        Ok(answers)
    }

    fn call(&self, step: &Step) -> Call {
        let body = step.content().map(|content| self.filled(&content));
        let mut call = Call::new(&step.method, &self.filled(&step.path), body.as_deref());
        for (name, value) in &step.headers {
            call.headers.retain(|(usual, _)| !usual.eq_ignore_ascii_case(name));
            call.headers.extend(value.as_ref().map(|value| (name.clone(), self.filled(value))));
        }
        call
    }

    async fn answer(&mut self, step: &Step, call: &Call) -> Result<Answer, String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = match step.watch {
                Some(enough) => self.client.watch(call, enough).await?,
                None if step.anon => self.client.send_anonymously(call).await?,
                None => self.client.send(call).await?,
            };
            let come = step.until.is_empty() || step.until.contains(&answer.code);
            if come || tokio::time::Instant::now() > deadline {
                return Ok(answer);
            }
            // Nothing tells a client that a server's caches are fresh.
            tokio::time::sleep(PACE).await;
        }
    }

    /// A text with the namespace and values of earlier answers put in. Values are names and versions, which look the
    /// same in a path and in JSON.
    fn filled(&self, text: &str) -> String {
        let text = text.replace("{NS}", self.namespace);
        let referred = |found: &Captures| {
            let pointer = found[2].replace('.', "/");
            let at: usize = found[1].parse().unwrap();
            match self.values.get(at).and_then(|value| value.pointer(&pointer)) {
                Some(Value::String(text)) => text.clone(),
                Some(value) if !value.is_null() => value.to_string(),
                _ => "0".to_owned(),
            }
        };
        REFERENCE.replace_all(&text, referred).into_owned()
    }

    /// Notes what has to be deleted afterwards: what is in no namespace, and Services, whose addresses and ports all
    /// namespaces share.
    fn remember(&mut self, call: &Call, code: u16, value: &Value) {
        let shared = !call.path.contains(&format!("/namespaces/{}", self.namespace));
        if code != 201 || !(shared || call.path.contains("/services")) || call.path.contains("dryRun") {
            return;
        }
        let path = call.path.split('?').next().unwrap_or_default();
        let sent: Value =
            call.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let named = |object: &&Value| Some(object.pointer("/metadata/name")?.as_str()?.to_owned());
        let name = [&sent, value].iter().filter_map(named).find(|name| !name.is_empty());
        match (call.method.as_str(), name) {
            ("PUT" | "PATCH", _) => self.created.push(path.to_owned()),
            ("POST", Some(name)) => self.created.push(format!("{path}/{name}")),
            _ => {}
        }
    }

    async fn clean(&mut self, scenario: &Scenario) -> Result<(), String> {
        const NO_FINALIZERS: &str = r#"{"metadata":{"finalizers":null}}"#;
        let named = scenario.cleanup.iter().map(|path| self.filled(path));
        let all: Vec<String> = self.created.iter().rev().cloned().chain(named).collect();
        for path in all {
            let answer = self.client.send(&Call::new("DELETE", &path, None)).await?;
            let held = decoded(&answer.body).pointer("/metadata/finalizers").is_some();
            if answer.code == 200 && held && !path.contains("customresourcedefinitions") {
                let mut call = Call::new("PATCH", &path, Some(NO_FINALIZERS));
                call.headers.retain(|(name, _)| name != "Content-Type");
                call.headers.push(("Content-Type".to_owned(), "application/merge-patch+json".to_owned()));
                self.client.send(&call).await?;
            }
        }
        Ok(())
    }
}

/// A body as a value: JSON, text, the beginning of something else, or nothing.
fn decoded(body: &[u8]) -> Value {
    if body.trim_ascii().is_empty() {
        return Value::Null;
    }
    if let Ok(value) = serde_json::from_slice(body) {
        return value;
    }
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') => json!({ "text": text }),
        _ => json!({ "binary": body.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}

/// The headers that are compared; all warnings, sorted.
fn headers(all: &HeaderMap) -> Value {
    let mut kept = Map::new();
    for name in HEADERS {
        let values = all.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let mut values: Vec<&str> =
            values.filter(|value| name != "warning" || !is_own_warning(value)).collect();
        let Some(first) = values.first().copied() else { continue };
        values.sort_unstable();
        let value = if name == "warning" { json!(values) } else { json!(first) };
        kept.insert(titled(name), value);
    }
    Value::Object(kept)
}

/// `Content-Type` of `content-type`.
fn titled(name: &str) -> String {
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}
