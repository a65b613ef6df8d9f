//! Plugins by name, as kube-scheduler has them: where each can be called, and where a profile calls it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use Plugin::*;
use Point::*;

/// A plugin of the scheduler: a rule, a score, or what is done when nothing fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Plugin {
    SchedulingGates,
    PrioritySort,
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
    DynamicResources,
    DefaultPreemption,
    NodeResourcesBalancedAllocation,
    ImageLocality,
    DefaultBinder,
    NodeDeclaredFeatures,
}

/// Where plugins are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Point {
    PreFilter,
    Filter,
    PostFilter,
    Reserve,
    PreScore,
    Score,
    PreBind,
    Bind,
    PostBind,
    Permit,
    PreEnqueue,
    QueueSort,
}

/// Every point in kube-scheduler's order, with its field in a profile and its name in errors.
const POINTS: [(Point, &str, &str); 12] = [
    (PreFilter, "preFilter", "PreFilterPlugin"),
    (Filter, "filter", "FilterPlugin"),
    (PostFilter, "postFilter", "PostFilterPlugin"),
    (Reserve, "reserve", "ReservePlugin"),
    (PreScore, "preScore", "PreScorePlugin"),
    (Score, "score", "ScorePlugin"),
    (PreBind, "preBind", "PreBindPlugin"),
    (Bind, "bind", "BindPlugin"),
    (PostBind, "postBind", "PostBindPlugin"),
    (Permit, "permit", "PermitPlugin"),
    (PreEnqueue, "preEnqueue", "PreEnqueuePlugin"),
    (QueueSort, "queueSort", "QueueSortPlugin"),
];

/// A plugin with its name, its weight where it is called by default, and where it can be called.
type Row = (Plugin, &'static str, i64, &'static [Point]);

/// All plugins, in the order in which they are called by default.
const PLUGINS: [Row; 20] = [
    (SchedulingGates, "SchedulingGates", 0, &[PreEnqueue]),
    (PrioritySort, "PrioritySort", 0, &[QueueSort]),
    (NodeUnschedulable, "NodeUnschedulable", 0, &[Filter]),
    (NodeName, "NodeName", 0, &[Filter]),
    (TaintToleration, "TaintToleration", 3, &[Filter, PreScore, Score]),
    (NodeAffinity, "NodeAffinity", 2, &[PreFilter, Filter, PreScore, Score]),
    (NodePorts, "NodePorts", 0, &[PreFilter, Filter]),
    (NodeResourcesFit, "NodeResourcesFit", 1, &[PreFilter, Filter, PreScore, Score]),
    (VolumeRestrictions, "VolumeRestrictions", 0, &[PreFilter, Filter]),
    (NodeVolumeLimits, "NodeVolumeLimits", 0, &[PreFilter, Filter]),
    (VolumeBinding, "VolumeBinding", 0, &[PreFilter, Filter, Reserve, PreBind, PreScore, Score]),
    (VolumeZone, "VolumeZone", 0, &[PreFilter, Filter]),
    (PodTopologySpread, "PodTopologySpread", 2, &[PreFilter, Filter, PreScore, Score]),
    (InterPodAffinity, "InterPodAffinity", 2, &[PreFilter, Filter, PreScore, Score]),
    (
        DynamicResources,
        "DynamicResources",
        2,
        &[PreEnqueue, PreFilter, Filter, PostFilter, Score, Reserve, PreBind],
    ),
    (DefaultPreemption, "DefaultPreemption", 0, &[PreEnqueue, PostFilter]),
    (NodeResourcesBalancedAllocation, "NodeResourcesBalancedAllocation", 1, &[PreScore, Score]),
    (ImageLocality, "ImageLocality", 1, &[Score]),
    (DefaultBinder, "DefaultBinder", 0, &[Bind]),
    (NodeDeclaredFeatures, "NodeDeclaredFeatures", 0, &[PreFilter, Filter]),
];

/// Plugins that were taken out of Kubernetes before this version of the configuration.
pub(super) const REMOVED: [&str; 4] = ["AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"];

impl Plugin {
    pub(super) fn named(name: &str) -> Option<Self> {
        PLUGINS.iter().find(|(_, own, ..)| *own == name).map(|(plugin, ..)| *plugin)
    }

    fn row(self) -> &'static Row {
        &PLUGINS[self as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    fn has(self, point: Point) -> bool {
        self.row().3.contains(&point)
    }
}

/// What a profile says of one point: plugins with their weights, and those that are not called.
#[derive(Clone, Debug, Default)]
struct Set {
    enabled: Vec<(String, i64)>,
    disabled: BTreeSet<String>,
}

impl Set {
    fn read(value: &Value) -> Self {
        let list = |field: &str| value[field].as_array().into_iter().flatten();
        let name = |plugin: &Value| plugin["name"].as_str().unwrap_or_default().to_owned();
        Self {
            enabled: list("enabled").map(|one| (name(one), one["weight"].as_i64().unwrap_or(0))).collect(),
            disabled: list("disabled").map(name).collect(),
        }
    }

    /// The set that comes of this one, which is there by default, and what a profile says.
    fn merged(self, said: Self) -> Self {
        let mut replaced = BTreeSet::new();
        let mut enabled = Vec::new();
        if !said.disabled.contains("*") {
            for default in self.enabled.into_iter().filter(|(name, _)| !said.disabled.contains(name)) {
                // As in Kubernetes the last of equal names replaces the default.
                let own = said.enabled.iter().rposition(|(name, _)| *name == default.0);
                enabled.push(own.map_or(default, |own| said.enabled[own].clone()));
                replaced.extend(own);
            }
        }
        let more = said.enabled.into_iter().enumerate().filter(|(at, _)| !replaced.contains(at));
        enabled.extend(more.map(|(_, plugin)| plugin));
        Self { enabled, disabled: said.disabled }
    }

    fn default_of_all_points() -> Self {
        let enabled = PLUGINS.iter().map(|(_, name, weight, _)| ((*name).to_owned(), *weight)).collect();
        Self { enabled, disabled: BTreeSet::new() }
    }
}

/// What a profile calls at each point, in order; and how much scores weigh.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Calls {
    at: BTreeMap<Point, Vec<Plugin>>,
    weights: BTreeMap<Plugin, i64>,
}

impl Calls {
    /// What comes of a profile's `plugins`.
    ///
    /// # Errors
    /// In kube-scheduler's words where it has some: what is unknown, twice there or cannot be called there.
    pub(super) fn of(plugins: &Value, scheduler_name: &str) -> Result<Self, String> {
        let everywhere = Set::default_of_all_points().merged(Set::read(&plugins["multiPoint"]));
        let mut calls = Self::default();
        let sets = POINTS.map(|(_, field, _)| Set::read(&plugins[field]));
        for ((point, _, go_name), set) in POINTS.iter().zip(&sets) {
            let own = known(&set.enabled, *point, go_name)?;
            let expanded = expand(&own, &everywhere, set, *point, go_name)?;
            calls.at.insert(*point, expanded);
        }
        let (sorters, binders) = (calls.at[&QueueSort].len(), calls.at[&Bind].len());
        if sorters != 1 {
            return Err(format!(
                "only one queue sort plugin required for profile with scheduler name {scheduler_name:?}, but got {sorters}"
            ));
        }
        if binders == 0 {
            return Err(format!(
                "at least one bind plugin is needed for profile with scheduler name {scheduler_name:?}"
            ));
        }
        let score = POINTS.iter().zip(&sets).find(|((point, ..), _)| *point == Score);
        let weighed = score.into_iter().flat_map(|(_, set)| &set.enabled).chain(&everywhere.enabled);
        calls.weigh(weighed)?;
        calls.refuse_halves()?;
        Ok(calls)
    }

    /// Gives each score its weight: its own, or that of all points.
    fn weigh<'s>(&mut self, weighed: impl Iterator<Item = &'s (String, i64)>) -> Result<(), String> {
        let mut rest = i64::MAX;
        for (name, weight) in weighed {
            let Some(plugin) = Plugin::named(name).filter(|plugin| plugin.has(Score)) else { continue };
            if self.weights.contains_key(&plugin) {
                continue;
            }
            let weight = if *weight == 0 { 1 } else { *weight };
            self.weights.insert(plugin, weight);
            rest = weight
                .checked_mul(100)
                .and_then(|most| rest.checked_sub(most))
                .filter(|rest| *rest >= 0)
                .ok_or("score plugins: total score of Score plugins could overflow")?;
        }
        Ok(())
    }

    /// Refuses what cannot be told apart here: a plugin whose parts go together is called for all of them or for none.
    fn refuse_halves(&self) -> Result<(), String> {
        if !self.at[&PreEnqueue].contains(&SchedulingGates) {
            return Err(format!(
                "{} has to be on at preEnqueue: no pod can be bound while it has gates",
                SchedulingGates.name()
            ));
        }
        let needed = [
            (Filter, PreFilter),
            (Score, PreScore),
            (PostFilter, PreEnqueue),
            (Filter, Reserve),
            (Reserve, PreBind),
            (PreBind, Filter),
        ];
        let field =
            |point: Point| POINTS.iter().find(|(own, ..)| *own == point).map_or("", |(_, field, _)| field);
        for (point, needs) in needed {
            for plugin in &self.at[&point] {
                let alone = match plugin {
                    NodeAffinity | TaintToleration | NodeResourcesFit | NodeResourcesBalancedAllocation => {
                        needs == PreScore || *plugin == NodeAffinity
                    }
                    _ => false,
                };
                if plugin.has(needs) && !alone && !self.at[&needs].contains(plugin) {
                    return Err(format!(
                        "{} is on at {}, which needs it to be on at {}",
                        plugin.name(),
                        field(point),
                        field(needs)
                    ));
                }
            }
        }
        Ok(())
    }

    /// The plugins that are called at a point, in order.
    pub(super) fn at(&self, point: Point) -> &[Plugin] {
        self.at.get(&point).map_or(&[], Vec::as_slice)
    }

    /// The scores with their weights.
    pub(super) fn scores(&self) -> Vec<(Plugin, i64)> {
        self.at(Score)
            .iter()
            .map(|plugin| (*plugin, self.weights.get(plugin).copied().unwrap_or(1)))
            .collect()
    }

    /// Whether the plugin is called anywhere.
    pub(super) fn call(&self, plugin: Plugin) -> bool {
        self.at.values().any(|plugins| plugins.contains(&plugin))
    }
}

/// The plugins that a profile names for a point.
fn known(enabled: &[(String, i64)], point: Point, go_name: &str) -> Result<Vec<Plugin>, String> {
    let mut own = Vec::new();
    for (name, _) in enabled {
        let plugin = Plugin::named(name).ok_or_else(|| format!("{go_name} {name:?} does not exist"))?;
        if !plugin.has(point) {
            return Err(format!("plugin {name:?} does not extend {go_name} plugin"));
        }
        if own.contains(&plugin) {
            return Err(format!("plugin {name:?} already registered as {go_name:?}"));
        }
        own.push(plugin);
    }
    Ok(own)
}

/// What is called at a point: first what is named for it and for all points, then what is for all, then what is for it alone.
fn expand(
    own: &[Plugin],
    everywhere: &Set,
    set: &Set,
    point: Point,
    go_name: &str,
) -> Result<Vec<Plugin>, String> {
    if set.disabled.contains("*") {
        return Ok(own.to_vec());
    }
    let (mut overriding, mut all) = (Vec::new(), Vec::new());
    for (name, _) in &everywhere.enabled {
        let plugin = Plugin::named(name).ok_or_else(|| format!("{go_name} {name:?} does not exist"))?;
        if !plugin.has(point) || set.disabled.contains(name) {
            continue;
        }
        if own.contains(&plugin) {
            overriding.push(plugin);
        } else if all.contains(&plugin) {
            return Err(format!("plugin {name:?} already registered as {go_name:?}"));
        } else {
            all.push(plugin);
        }
    }
    let (first, last): (Vec<Plugin>, Vec<Plugin>) =
        own.iter().partition(|plugin| overriding.contains(plugin));
    Ok([first, all, last].concat())
}

/// Where a profile enables plugins that were removed, as field and name.
pub(super) fn removed(plugins: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (_, field, _) in POINTS {
        for (at, (name, _)) in Set::read(&plugins[field]).enabled.into_iter().enumerate() {
            if REMOVED.contains(&name.as_str()) {
                found.push((format!("{field}.enabled[{at}]"), name));
            }
        }
    }
    found
}
