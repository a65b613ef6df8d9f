//! The scheduler's configuration: a `KubeSchedulerConfiguration` as kube-scheduler has it, made into profiles. Whatever would be ignored
//! is an error that names the field.

mod arguments;
mod plugins;
mod profile;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, strict};
use skiff_schema::Schema;

pub(crate) use arguments::{Arguments, Scoring, ScoringStrategy};
pub(crate) use plugins::Plugin;
pub(crate) use profile::Profile;

/// The profile of pods that name no scheduler.
pub(crate) const DEFAULT_SCHEDULER: &str = "default-scheduler";
const VERSION: &str = "kubescheduler.config.k8s.io/v1";

/// The definitions of everything in a configuration; the whole is `io.k8s.kubescheduler.config.KubeSchedulerConfiguration`.
pub fn schema() -> Arc<Schema> {
    Arc::new(Schema::of_table(include_str!("table.txt")))
}

/// By what pods are decided about: profiles by the name by which pods ask for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    profiles: BTreeMap<String, Arc<Profile>>,
    backoff: Backoff,
}

impl Default for Configuration {
    fn default() -> Self {
        let profile = Arc::new(Profile::default());
        Self { profiles: [(profile.name.clone(), profile)].into(), backoff: Backoff::default() }
    }
}

/// A configuration that makes no sense, or that would be ignored in part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigurationError(String);

impl From<FieldErrors> for ConfigurationError {
    fn from(errors: FieldErrors) -> Self {
        Self(errors.listed())
    }
}

impl Configuration {
    /// What a `KubeSchedulerConfiguration` says that was decoded against [`schema`].
    ///
    /// # Errors
    /// What is wrong in it, by field, in kube-scheduler's words; and what would be ignored.
    pub fn read(configuration: &Value) -> Result<Self, ConfigurationError> {
        let mut errors = FieldErrors::new();
        errors.extend(unusable(configuration));
        let backoff = Backoff::read(configuration, &mut errors);
        let overall = percentage(configuration, "", &mut errors);
        let profiles = profiles(configuration, overall, &mut errors);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(Self { profiles, backoff })
    }

    /// The profile of pods that ask for this scheduler, if it is one of ours.
    pub(crate) fn profile_of(&self, scheduler_name: Option<&str>) -> Option<&Arc<Profile>> {
        self.profiles.get(scheduler_name.unwrap_or(DEFAULT_SCHEDULER))
    }

    pub(crate) fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    pub(crate) fn backoff(&self) -> Backoff {
        self.backoff
    }
}

/// For how long a pod rests that could not be placed or bound: twice as long each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The rest after so many failures in a row, of which the first is number 1.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let times = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(times).min(self.most)
    }

    fn read(configuration: &Value, errors: &mut FieldErrors) -> Self {
        let seconds = |field: &str, default: i64| configuration[field].as_i64().unwrap_or(default);
        let (first, most) = (seconds("podInitialBackoffSeconds", 1), seconds("podMaxBackoffSeconds", 10));
        if first <= 0 {
            errors.push(FieldError::invalid("podInitialBackoffSeconds", first, "must be greater than 0"));
        }
        if most < first {
            let detail = "must be greater than or equal to PodInitialBackoffSeconds";
            errors.push(FieldError::invalid("podMaxBackoffSeconds", most, detail));
        }
        let duration = |seconds: i64| Duration::from_secs(seconds.try_into().unwrap_or(0));
        Self { first: duration(first), most: duration(most) }
    }
}

/// The definitions of what plugins are told, which is decoded for each plugin.
struct Definitions(Arc<Schema>);

impl Definitions {
    fn new() -> Self {
        Self(schema())
    }

    /// An object's fields; what is unknown is an error.
    fn decode(&self, object: &Value, definition: &str) -> Result<Value, String> {
        let root = self.0.root(&format!("io.k8s.kubescheduler.config.{definition}"));
        let root = root.expect("a test reads every definition");
        strict::configured(object.clone(), &root)
    }

    fn has(&self, definition: &str) -> bool {
        self.0.root(&format!("io.k8s.kubescheduler.config.{definition}")).is_some()
    }
}

/// What is said in vain to a scheduler that is a part of the server's process.
fn unusable(configuration: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    match configuration["parallelism"].as_i64() {
        None | Some(16) => {}
        Some(number) if number <= 0 => {
            let detail = "should be an integer value greater than zero";
            errors.push(FieldError::invalid("parallelism", number, detail));
        }
        Some(_) => {
            let detail = "one pod is decided about after the other";
            errors.push(FieldError::forbidden("parallelism", detail));
        }
    }
    let election = configuration["leaderElection"].as_object();
    let given =
        election.into_iter().flatten().filter(|(field, value)| *field != "leaderElect" || **value == true);
    for (field, _) in given {
        let detail = "there is one scheduler, which needs no leader";
        errors.push(FieldError::forbidden(format!("leaderElection.{field}"), detail));
    }
    for (field, _) in configuration["clientConnection"].as_object().into_iter().flatten() {
        let detail = "the scheduler is in the API server's process";
        errors.push(FieldError::forbidden(format!("clientConnection.{field}"), detail));
    }
    for field in ["enableProfiling", "enableContentionProfiling", "delayCacheUntilActive"] {
        if configuration[field] == true {
            errors.push(FieldError::forbidden(field, "the scheduler is a part of the server"));
        }
    }
    if configuration["extenders"].as_array().is_some_and(|extenders| !extenders.is_empty()) {
        errors.push(FieldError::forbidden("extenders", "extenders are not called"));
    }
    errors
}

/// A `percentageOfNodesToScore`; 0 and none leave it to the number of nodes.
fn percentage(object: &Value, path: &str, errors: &mut FieldErrors) -> Option<i64> {
    let percentage = object["percentageOfNodesToScore"].as_i64()?;
    if !(0..=100).contains(&percentage) {
        let field = format!("{path}percentageOfNodesToScore");
        errors.push(FieldError::invalid(field, percentage, "not in valid range [0-100]"));
    }
    Some(percentage)
}

fn profiles(
    configuration: &Value,
    overall: Option<i64>,
    errors: &mut FieldErrors,
) -> BTreeMap<String, Arc<Profile>> {
    let none = [Value::Object(serde_json::Map::new())];
    let said = configuration["profiles"].as_array().filter(|said| !said.is_empty());
    let said = said.map_or(&none[..], Vec::as_slice);
    let definitions = Definitions::new();
    let (mut profiles, mut places) = (BTreeMap::new(), BTreeMap::new());
    for (at, profile) in said.iter().enumerate() {
        let path = format!("profiles[{at}]");
        let name = match profile["schedulerName"].as_str() {
            // As in Kubernetes only a single profile has a name by itself.
            None if said.len() == 1 => DEFAULT_SCHEDULER,
            name => name.unwrap_or_default(),
        };
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.schedulerName"), ""));
        } else if let Some(first) = places.insert(name.to_owned(), at) {
            let field = format!("{path}.schedulerName");
            errors.push(FieldError::duplicate(field, format!("profiles[{first}].schedulerName")));
        }
        let own = percentage(profile, &format!("{path}."), errors);
        let read = profile::read(name, profile, &path, &definitions, errors);
        let percentage = own.or(overall).and_then(|percentage| usize::try_from(percentage).ok());
        let read = Profile { percentage: percentage.filter(|percentage| *percentage > 0), ..read };
        profiles.insert(name.to_owned(), Arc::new(read));
    }
    profiles
}
