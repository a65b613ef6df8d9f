//! What plugins are told (`pluginConfig`), with Kubernetes' defaults and checks.

use std::time::Duration;

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorTerm, TopologySpreadConstraint};
use serde::Deserialize as _;
use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::selector::LabelRequirement;
use skiff_machinery::{FieldError, FieldErrors};

use super::plugins::Plugin;
use crate::affinity::NodeRules;
use crate::model::Spread;

/// The arguments of a profile's plugins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arguments {
    /// NodeAffinity: asked of the nodes of every pod.
    pub added_affinity: NodeRules,
    /// PodTopologySpread: for pods that say nothing.
    pub spread: SpreadDefaults,
    /// NodeResourcesFit: extended resources of which a node may have too little.
    pub ignored_resources: Vec<String>,
    /// The same by what stands before the slash.
    pub ignored_groups: Vec<String>,
    /// NodeResourcesFit: how much room is best.
    pub scoring: Scoring,
    /// NodeResourcesBalancedAllocation: what is to be used alike.
    pub balanced: Vec<String>,
    /// InterPodAffinity: how much a pod that must have others near it likes them.
    pub hard_affinity_weight: i64,
    /// InterPodAffinity: whether only the pod's own wishes count.
    pub ignores_wishes_of_others: bool,
    /// DefaultPreemption: of how many nodes at least it is found out who would have to go, in percent and absolutely.
    pub candidates: (usize, usize),
    /// VolumeBinding: how long a pod waits for its volumes on one node.
    pub bind_timeout: Duration,
}

/// Constraints of pods that have none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpreadDefaults {
    /// Without selectors: those are of each pod.
    pub constraints: Vec<Spread>,
    /// Whether they are the system's, which count on nodes that have not all of the labels, too.
    pub system: bool,
}

/// How NodeResourcesFit scores.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scoring {
    pub strategy: ScoringStrategy,
    /// What is looked at, and how much it weighs.
    pub resources: Vec<(String, i64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ScoringStrategy {
    LeastAllocated,
    MostAllocated,
    /// The score, 0 to 100, at each of these percentages in use; between them it changes evenly.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            added_affinity: NodeRules::default(),
            spread: SpreadDefaults { constraints: system_constraints(), system: true },
            ignored_resources: Vec::new(),
            ignored_groups: Vec::new(),
            scoring: Scoring { strategy: ScoringStrategy::LeastAllocated, resources: cpu_and_memory() },
            balanced: cpu_and_memory().into_iter().map(|(name, _)| name).collect(),
            hard_affinity_weight: 1,
            ignores_wishes_of_others: false,
            candidates: (10, 100),
            bind_timeout: Duration::from_secs(600),
        }
    }
}

fn cpu_and_memory() -> Vec<(String, i64)> {
    vec![("cpu".to_owned(), 1), ("memory".to_owned(), 1)]
}

fn system_constraints() -> Vec<Spread> {
    let constraint = |topology_key: &str, max_skew| TopologySpreadConstraint {
        topology_key: topology_key.to_owned(),
        max_skew,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    };
    [constraint("kubernetes.io/hostname", 3), constraint("topology.kubernetes.io/zone", 5)]
        .iter()
        .map(Spread::of)
        .collect()
}

/// Takes over what a plugin is told.
pub(super) fn read(plugin: Plugin, args: &Value, path: &str, to: &mut Arguments, errors: &mut FieldErrors) {
    let at = At { args, path };
    match plugin {
        Plugin::NodeAffinity => at.affinity(to, errors),
        Plugin::PodTopologySpread => at.spread(to, errors),
        Plugin::NodeResourcesFit => at.fit(to, errors),
        Plugin::NodeResourcesBalancedAllocation => at.balanced(to, errors),
        Plugin::InterPodAffinity => at.nearness(to, errors),
        Plugin::DefaultPreemption => at.preemption(to, errors),
        Plugin::VolumeBinding => at.volumes(to, errors),
        _ => {
            for (field, _) in args.as_object().into_iter().flatten() {
                if !matches!(field.as_str(), "kind" | "apiVersion") {
                    let detail = "nothing waits for devices";
                    errors.push(FieldError::forbidden(at.field(field), detail));
                }
            }
        }
    }
}

/// Arguments and where they stand.
struct At<'a> {
    args: &'a Value,
    path: &'a str,
}

impl At<'_> {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn list(&self, name: &str) -> &[Value] {
        self.args[name].as_array().map_or(&[], Vec::as_slice)
    }

    fn affinity(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        let path = self.field("addedAffinity");
        let read = Option::<NodeAffinity>::deserialize(&self.args["addedAffinity"]);
        let affinity = match read {
            Ok(affinity) => affinity.unwrap_or_default(),
            Err(error) => return errors.push(FieldError::forbidden(path, error.to_string())),
        };
        to.added_affinity = NodeRules::of(&affinity);
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
        for (at, term) in required.into_iter().flat_map(|required| &required.node_selector_terms).enumerate()
        {
            let path =
                format!("{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{at}]");
            check_term(term, &path, errors);
        }
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.as_ref();
        for (at, term) in preferred.into_iter().flatten().enumerate() {
            let path = format!("{path}.preferredDuringSchedulingIgnoredDuringExecution[{at}]");
            check_term(&term.preference, &path, errors);
        }
    }

    fn spread(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        let constraints = self.list("defaultConstraints");
        let defaulting =
            self.args["defaultingType"].as_str().filter(|text| !text.is_empty()).unwrap_or("System");
        let field = self.field("defaultingType");
        match defaulting {
            "System" if !constraints.is_empty() => {
                errors.push(FieldError::invalid(field, "System", "when .defaultConstraints are not empty"));
            }
            "System" => return,
            "List" => {}
            other => errors.push(FieldError::not_supported(field, other, &["System", "List"])),
        }
        let path = self.field("defaultConstraints");
        let mut read: Vec<TopologySpreadConstraint> = Vec::new();
        for (at, constraint) in constraints.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match TopologySpreadConstraint::deserialize(constraint) {
                Ok(constraint) => {
                    check_constraint(&constraint, &read, &path, errors);
                    read.push(constraint);
                }
                Err(error) => errors.push(FieldError::forbidden(path, error.to_string())),
            }
        }
        to.spread = SpreadDefaults { constraints: read.iter().map(Spread::of).collect(), system: false };
    }

    fn fit(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        let names = |field: &str, errors: &mut FieldErrors| {
            let mut names = Vec::new();
            for (at, name) in self.list(field).iter().enumerate() {
                let (name, path) =
                    (name.as_str().unwrap_or_default(), format!("{}[{at}]", self.field(field)));
                if field == "ignoredResourceGroups" && name.contains('/') {
                    let detail = "resource group name can't contain '/'";
                    errors.push(FieldError::invalid(path.clone(), name, detail));
                }
                errors.extend(Form::QualifiedName.check(&path, name));
                names.push(name.to_owned());
            }
            names
        };
        to.ignored_resources = names("ignoredResources", errors);
        to.ignored_groups = names("ignoredResourceGroups", errors);
        let (strategy, path) = (&self.args["scoringStrategy"], self.field("scoringStrategy"));
        if !strategy.is_null() {
            to.scoring = scoring(strategy, &path, errors);
        }
    }

    fn balanced(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        let path = self.field("resources");
        let resources = resources(self.list("resources"));
        let mut seen: Vec<String> = Vec::new();
        for (at, (name, weight)) in resources.into_iter().enumerate() {
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(format!("{path}[{at}].name"), name.as_str()));
            }
            if weight != 1 {
                errors.push(FieldError::invalid(format!("{path}[{at}].weight"), weight, "must be 1"));
            }
            seen.push(name);
        }
        to.balanced = seen;
    }

    fn nearness(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        to.hard_affinity_weight = self.args["hardPodAffinityWeight"].as_i64().unwrap_or(1);
        if !(0..=100).contains(&to.hard_affinity_weight) {
            let field = self.field("hardPodAffinityWeight");
            errors.push(FieldError::invalid(field, to.hard_affinity_weight, "not in valid range [0, 100]"));
        }
        to.ignores_wishes_of_others = self.args["ignorePreferredTermsOfExistingPods"] == true;
    }

    fn preemption(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        let (share, count) = ("minCandidateNodesPercentage", "minCandidateNodesAbsolute");
        let number = |field: &str, default: i64| self.args[field].as_i64().unwrap_or(default);
        let (percent, absolute) = (number(share, 10), number(count, 100));
        if !(0..=100).contains(&percent) {
            errors.push(FieldError::invalid(self.field(share), percent, "not in valid range [0, 100]"));
        }
        if absolute < 0 {
            errors.push(FieldError::invalid(self.field(count), absolute, "not in valid range [0, inf)"));
        }
        if percent == 0 && absolute == 0 {
            for (field, other) in [(share, count), (count, share)] {
                let detail = format!("cannot be zero at the same time as {other}");
                errors.push(FieldError::invalid(self.field(field), 0, detail));
            }
        }
        let size = |number: i64| usize::try_from(number).unwrap_or(0);
        to.candidates = (size(percent), size(absolute));
    }

    fn volumes(&self, to: &mut Arguments, errors: &mut FieldErrors) {
        if let Some(seconds) = self.args["bindTimeoutSeconds"].as_i64() {
            if seconds < 0 {
                let detail = "invalid BindTimeoutSeconds, should not be a negative value";
                errors.push(FieldError::invalid(self.field("bindTimeoutSeconds"), seconds, detail));
            }
            to.bind_timeout = Duration::from_secs(seconds.try_into().unwrap_or(0));
        }
        if !self.args["shape"].is_null() {
            let detail =
                "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring";
            errors.push(FieldError::invalid(self.field("shape"), self.args["shape"].clone(), detail));
        }
    }
}

/// Names and weights; one that is not given is 1.
fn resources(said: &[Value]) -> Vec<(String, i64)> {
    if said.is_empty() {
        return cpu_and_memory();
    }
    let weight = |resource: &Value| resource["weight"].as_i64().filter(|weight| *weight != 0).unwrap_or(1);
    said.iter()
        .map(|resource| (resource["name"].as_str().unwrap_or_default().to_owned(), weight(resource)))
        .collect()
}

fn scoring(strategy: &Value, path: &str, errors: &mut FieldErrors) -> Scoring {
    const RATIO: &str = "RequestedToCapacityRatio";
    let resources = resources(strategy["resources"].as_array().map_or(&[], Vec::as_slice));
    let kind = strategy["type"].as_str().unwrap_or_default();
    if !["LeastAllocated", "MostAllocated", RATIO].contains(&kind) {
        let supported = ["LeastAllocated", "MostAllocated", RATIO];
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, &supported));
    }
    for (at, (name, weight)) in resources.iter().enumerate().filter(|(_, (_, w))| !(1..=100).contains(w)) {
        let detail = format!("resource weight of {name} not in valid range (0, 100]");
        errors.push(FieldError::invalid(format!("{path}.resources[{at}].weight"), *weight, detail));
    }
    let (ratio, field) = (&strategy["requestedToCapacityRatio"], format!("{path}.requestedToCapacityRatio"));
    let strategy = match (kind, ratio.is_null()) {
        (RATIO, false) => {
            let shape = ratio["shape"].as_array().map_or(&[][..], Vec::as_slice);
            ScoringStrategy::RequestedToCapacityRatio(read_shape(shape, &format!("{field}.shape"), errors))
        }
        (RATIO, true) => {
            let detail = "must be specified when type is RequestedToCapacityRatio";
            errors.push(FieldError::required(field, detail));
            ScoringStrategy::LeastAllocated
        }
        (_, false) => {
            let detail = "must be nil when type is not RequestedToCapacityRatio";
            errors.push(FieldError::forbidden(field, detail));
            ScoringStrategy::LeastAllocated
        }
        ("MostAllocated", true) => ScoringStrategy::MostAllocated,
        (_, true) => ScoringStrategy::LeastAllocated,
    };
    Scoring { strategy, resources }
}

/// The points of a shape, whose scores go to 10, as scores to 100.
fn read_shape(shape: &[Value], path: &str, errors: &mut FieldErrors) -> Vec<(i64, i64)> {
    if shape.is_empty() {
        errors.push(FieldError::required(path, "at least one point must be specified"));
    }
    let number = |point: &Value, field: &str| point[field].as_i64().unwrap_or(0);
    let points: Vec<(i64, i64)> =
        shape.iter().map(|point| (number(point, "utilization"), number(point, "score"))).collect();
    if let Some(at) = points.windows(2).position(|pair| pair[0].0 >= pair[1].0) {
        let detail = "values must be sorted in increasing order";
        errors.push(FieldError::invalid(format!("{path}[{}].utilization", at + 1), points[at + 1].0, detail));
    }
    for (at, (utilization, score)) in points.iter().enumerate() {
        for (field, value, most) in [("utilization", *utilization, 100), ("score", *score, 10)] {
            if !(0..=most).contains(&value) {
                let detail = format!("not in valid range [0, {most}]");
                errors.push(FieldError::invalid(format!("{path}[{at}].{field}"), value, detail));
            }
        }
    }
    points.into_iter().map(|(utilization, score)| (utilization, score.saturating_mul(10))).collect()
}

fn check_term(term: &NodeSelectorTerm, path: &str, errors: &mut FieldErrors) {
    let lists = [("matchExpressions", &term.match_expressions), ("matchFields", &term.match_fields)];
    for (field, requirements) in lists {
        for (at, requirement) in requirements.iter().flatten().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            if let Err(error) = LabelRequirement::try_from(requirement) {
                errors.push(FieldError::invalid(path, requirement.operator.as_str(), error.to_string()));
            } else if field == "matchFields" && requirement.key != "metadata.name" {
                let detail = "not a valid field selector key";
                errors.push(FieldError::invalid(format!("{path}.key"), requirement.key.as_str(), detail));
            }
        }
    }
}

fn check_constraint(
    constraint: &TopologySpreadConstraint,
    before: &[TopologySpreadConstraint],
    path: &str,
    errors: &mut FieldErrors,
) {
    let TopologySpreadConstraint { topology_key: key, when_unsatisfiable: when, max_skew, .. } = constraint;
    if *max_skew <= 0 {
        errors.push(FieldError::invalid(format!("{path}.maxSkew"), *max_skew, "not in valid range (0, inf)"));
    }
    let field = format!("{path}.topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(field, "can not be empty"));
    } else {
        errors.extend(Form::QualifiedName.check(&field, key));
    }
    let field = format!("{path}.whenUnsatisfiable");
    match when.as_str() {
        "" => errors.push(FieldError::required(field, "can not be empty")),
        "DoNotSchedule" | "ScheduleAnyway" => {}
        other => {
            errors.push(FieldError::not_supported(field, other, &["DoNotSchedule", "ScheduleAnyway"]));
        }
    }
    if constraint.label_selector.is_some() {
        let detail = "constraint must not define a selector, as they deduced for each pod";
        errors.push(FieldError::forbidden(format!("{path}.labelSelector"), detail));
    }
    if constraint.match_label_keys.as_ref().is_some_and(|keys| !keys.is_empty()) {
        let detail = "selectors are deduced for each pod";
        errors.push(FieldError::forbidden(format!("{path}.matchLabelKeys"), detail));
    }
    if before.iter().any(|other| other.topology_key == *key && other.when_unsatisfiable == *when) {
        errors.push(FieldError::duplicate(path, format!("{{{key}, {when}}}")));
    }
}
