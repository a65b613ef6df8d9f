use serde_json::{Value, json};

use super::arguments::SpreadDefaults;
use super::*;

fn read(more: Value) -> Result<Configuration, String> {
    Configuration::read(&more).map_err(|error| error.to_string())
}

/// The only profile of a configuration.
fn profile(profile: Value) -> Profile {
    let configuration = read(json!({"profiles": [profile]})).unwrap();
    let profile: &Profile = configuration.profiles().next().unwrap();
    profile.clone()
}

fn with_args(plugin: &str, args: Value) -> Arguments {
    profile(json!({"pluginConfig": [{"name": plugin, "args": args}]})).arguments
}

#[test]
fn nothing_said_is_as_without_a_file() {
    assert_eq!(read(json!({})), Ok(Configuration::default()));
    assert_eq!(profile(json!({})), Profile::default());
    let default = Profile::default();
    assert_eq!(default.scores.len(), 9);
    assert!(default.scores.contains(&(Plugin::TaintToleration, 3)));
    assert_eq!(default.post_filters, [Plugin::DynamicResources, Plugin::DefaultPreemption]);
    assert!(default.spreads() && default.narrows());
}

#[test]
fn every_plugin_stands_in_its_place() {
    for (plugin, _) in Profile::default().scores {
        assert_eq!(Plugin::named(plugin.name()), Some(plugin));
    }
    assert_eq!(Plugin::named("SchedulingGates").map(Plugin::name), Some("SchedulingGates"));
    assert_eq!(Plugin::named("NodeDeclaredFeatures").map(Plugin::name), Some("NodeDeclaredFeatures"));
}

#[test]
fn profiles_have_names_and_share_what_is_said_for_all() {
    let two = json!([{"schedulerName": "a"}, {"schedulerName": "b", "percentageOfNodesToScore": 0}]);
    let more = json!({"profiles": two, "percentageOfNodesToScore": 30, "podInitialBackoffSeconds": 2,
                      "podMaxBackoffSeconds": 5, "parallelism": 16, "leaderElection": {"leaderElect": false}});
    let configuration = read(more).unwrap();
    let percentage = |name| configuration.profile_of(Some(name)).map(|profile| profile.percentage);
    assert_eq!(percentage("a"), Some(Some(30)));
    assert_eq!(percentage("b"), Some(None), "by the number of nodes");
    assert_eq!(configuration.profile_of(None), None, "nobody schedules pods that name no scheduler");
    let rests: Vec<u64> = (1..=4).map(|times| configuration.backoff().after(times).as_secs()).collect();
    assert_eq!(rests, [2, 4, 5, 5]);
}

#[test]
fn plugins_are_turned_on_and_off_where_it_is_said() {
    let scores = |plugins: Value| {
        let profile = profile(json!({"plugins": plugins}));
        profile
            .scores
            .iter()
            .map(|(plugin, weight)| format!("{}={weight}", plugin.name()))
            .collect::<Vec<_>>()
    };
    let all_off = json!({"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "ImageLocality"}]}});
    assert_eq!(scores(all_off), ["ImageLocality=1"]);
    let heavier = json!({"score": {"enabled": [{"name": "ImageLocality", "weight": 7}]}});
    assert_eq!(scores(heavier)[0], "ImageLocality=7", "what is named comes first");
    let for_all = json!({"multiPoint": {"enabled": [{"name": "NodeResourcesFit", "weight": 5}]}});
    assert!(scores(for_all).contains(&"NodeResourcesFit=5".to_owned()));
    let off = profile(json!({"plugins": {"multiPoint": {"disabled": [{"name": "InterPodAffinity"}]}}}));
    assert!(!off.filters.contains(&Plugin::InterPodAffinity));
    let only = json!({"filter": {"disabled": [{"name": "TaintToleration"}]}});
    let only = profile(json!({"plugins": only}));
    assert!(!only.filters.contains(&Plugin::TaintToleration));
    assert!(only.scores.contains(&(Plugin::TaintToleration, 3)));
    let first = profile(json!({"plugins": {"filter": {"enabled": [{"name": "NodePorts"}]}}}));
    assert_eq!(first.filters[..2], [Plugin::NodePorts, Plugin::NodeUnschedulable]);
    let quiet = profile(json!({"plugins": {"postFilter": {"disabled": [{"name": "*"}]}}}));
    assert!(quiet.post_filters.is_empty());
}

#[test]
fn plugins_are_told_what_is_said() {
    assert_eq!(with_args("InterPodAffinity", json!({"hardPodAffinityWeight": 0})).hard_affinity_weight, 0);
    let strategy = json!({"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu", "weight": 3}],
        "requestedToCapacityRatio": {"shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]}});
    let args = json!({"kind": "NodeResourcesFitArgs", "apiVersion": VERSION, "scoringStrategy": strategy,
                      "ignoredResources": ["example.com/a"], "ignoredResourceGroups": ["example.org"]});
    let read = with_args("NodeResourcesFit", args);
    let shape = vec![(0, 0), (100, 100)];
    let scoring = Scoring {
        strategy: ScoringStrategy::RequestedToCapacityRatio(shape),
        resources: vec![("cpu".into(), 3)],
    };
    assert_eq!(read.scoring, scoring);
    assert_eq!((read.ignored_resources.len(), read.ignored_groups.len()), (1, 1));
    let constraint = json!({"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"});
    let spread = json!({"defaultingType": "List", "defaultConstraints": [constraint]});
    let SpreadDefaults { constraints, system } = with_args("PodTopologySpread", spread).spread;
    assert_eq!((constraints[0].max_skew, constraints.len(), system), (2, 1, false));
    let none =
        profile(json!({"pluginConfig": [{"name": "PodTopologySpread", "args": {"defaultingType": "List"}}]}));
    assert!(!none.spreads());
    let few = json!({"minCandidateNodesPercentage": 1, "minCandidateNodesAbsolute": 2});
    assert_eq!(with_args("DefaultPreemption", few).candidates, (1, 2));
    assert_eq!(with_args("VolumeBinding", json!({"bindTimeoutSeconds": 600})), Arguments::default());
    let patience = with_args("VolumeBinding", json!({"bindTimeoutSeconds": 5})).bind_timeout;
    assert_eq!(patience, Duration::from_secs(5));
    let affinity = json!({"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}]}}});
    let added = with_args("NodeAffinity", affinity).added_affinity;
    assert!(added.allow("n", &[("pool".to_owned(), "a".to_owned())].into()));
    assert!(!added.allow("n", &[].into()));
}

fn refused(more: Value, expected: &str) {
    let error = read(more.clone()).unwrap_err();
    assert_eq!(error, expected, "{more}");
}

#[test]
fn what_would_be_ignored_is_an_error() {
    let say = |field: &str, value: Value, why: &str| refused(json!({field: value}), why);
    say(
        "parallelism",
        json!(0),
        "parallelism: Invalid value: 0: should be an integer value greater than zero",
    );
    say("parallelism", json!(4), "parallelism: Forbidden: one pod is decided about after the other");
    say(
        "leaderElection",
        json!({"leaderElect": true}),
        "leaderElection.leaderElect: Forbidden: there is one scheduler, which needs no leader",
    );
    say(
        "clientConnection",
        json!({"qps": 100}),
        "clientConnection.qps: Forbidden: the scheduler is in the API server's process",
    );
    say(
        "extenders",
        json!([{"urlPrefix": "http://127.0.0.1"}]),
        "extenders: Forbidden: extenders are not called",
    );
    say(
        "percentageOfNodesToScore",
        json!(101),
        "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
    );
    say(
        "podInitialBackoffSeconds",
        json!(11),
        "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds",
    );
    say(
        "podInitialBackoffSeconds",
        json!(0),
        "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0",
    );
    say(
        "profiles",
        json!([{"schedulerName": "a"}, {"schedulerName": "a"}]),
        "profiles[1].schedulerName: Duplicate value: \"profiles[0].schedulerName\"",
    );
    say("profiles", json!([{"schedulerName": "a"}, {}]), "profiles[1].schedulerName: Required value");
}

#[test]
fn plugins_that_make_no_sense_are_refused_in_the_words_of_the_framework() {
    let plugins = |plugins: Value, why: &str| {
        refused(
            json!({"profiles": [{"plugins": plugins}]}),
            &format!("profiles[0].plugins: Forbidden: {why}"),
        );
    };
    let enabled = |name: &str| json!({"enabled": [{"name": name}]});
    let disabled = |name: &str| json!({"disabled": [{"name": name}]});
    plugins(json!({"score": enabled("Odd")}), "ScorePlugin \"Odd\" does not exist");
    plugins(json!({"multiPoint": enabled("Odd")}), "PreFilterPlugin \"Odd\" does not exist");
    plugins(
        json!({"score": enabled("NodePorts")}),
        "plugin \"NodePorts\" does not extend ScorePlugin plugin",
    );
    plugins(
        json!({"score": {"enabled": [{"name": "ImageLocality"}, {"name": "ImageLocality"}]}}),
        "plugin \"ImageLocality\" already registered as \"ScorePlugin\"",
    );
    plugins(
        json!({"queueSort": disabled("*")}),
        "only one queue sort plugin required for profile with scheduler name \"default-scheduler\", but got 0",
    );
    plugins(
        json!({"bind": disabled("DefaultBinder")}),
        "at least one bind plugin is needed for profile with scheduler name \"default-scheduler\"",
    );
    plugins(
        json!({"preEnqueue": disabled("SchedulingGates")}),
        "SchedulingGates has to be on at preEnqueue: no pod can be bound while it has gates",
    );
    plugins(
        json!({"preFilter": disabled("NodePorts")}),
        "NodePorts is on at filter, which needs it to be on at preFilter",
    );
    plugins(
        json!({"reserve": disabled("VolumeBinding")}),
        "VolumeBinding is on at filter, which needs it to be on at reserve",
    );
}

#[test]
fn arguments_are_checked_in_the_words_of_kubernetes() {
    let args = |plugin: &str, args: Value, why: &str| {
        let more = json!({"profiles": [{"pluginConfig": [{"name": plugin, "args": args}]}]});
        refused(more, &format!("profiles[0].pluginConfig[0].args{why}"));
    };
    args("Odd", json!({}), ": Forbidden: plugin \"Odd\" does not exist");
    args("NodePorts", json!({}), ": Forbidden: plugin NodePorts takes no arguments");
    args(
        "NodeAffinity",
        json!({"added": 1}),
        ": Forbidden: decoding args for plugin NodeAffinity: strict decoding error: unknown field \"added\"",
    );
    args(
        "InterPodAffinity",
        json!({"hardPodAffinityWeight": 101}),
        ".hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
    );
    let scoring = |strategy: Value| json!({"scoringStrategy": strategy});
    args(
        "NodeResourcesFit",
        scoring(json!({"type": "Odd"})),
        ".scoringStrategy.type: Unsupported value: \"Odd\": supported values: \"LeastAllocated\", \"MostAllocated\", \
         \"RequestedToCapacityRatio\"",
    );
    args(
        "NodeResourcesFit",
        scoring(json!({"type": "RequestedToCapacityRatio"})),
        ".scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio",
    );
    args(
        "NodeResourcesFit",
        json!({"ignoredResourceGroups": ["a/b"]}),
        ".ignoredResourceGroups[0]: Invalid value: \"a/b\": resource group name can't contain '/'",
    );
    let constraint = json!({"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
    args(
        "PodTopologySpread",
        json!({"defaultingType": "List", "defaultConstraints": [constraint]}),
        ".defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)",
    );
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
    args(
        "PodTopologySpread",
        json!({"defaultConstraints": [constraint]}),
        ".defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty",
    );
    args(
        "VolumeBinding",
        json!({"bindTimeoutSeconds": -1}),
        ".bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value",
    );
    let twice =
        json!([{"name": "ImageLocality"}, {"name": "InterPodAffinity"}, {"name": "InterPodAffinity"}]);
    let error = read(json!({"profiles": [{"pluginConfig": twice}]})).unwrap_err();
    assert!(error.ends_with("profiles[0].pluginConfig[2]: Duplicate value: \"InterPodAffinity\""), "{error}");
}

#[test]
fn every_definition_is_in_the_table() {
    let definitions = Definitions::new();
    for name in
        ["KubeSchedulerConfiguration", "NodeAffinityArgs", "PodTopologySpreadArgs", "DynamicResourcesArgs"]
    {
        assert!(definitions.has(name), "{name}");
    }
}
