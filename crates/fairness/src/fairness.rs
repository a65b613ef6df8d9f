//! All levels and the FlowSchemas that lead to them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaSpec, PriorityLevelConfiguration};
use parking_lot::Mutex;
use skiff_ordered::Ordered as _;

use crate::allocate::allocate;
use crate::level::Level;
use crate::matching::{Asked, Distinguisher, Rules};
use crate::meter::Meter;
use crate::queues::{Arrival, Details, Entered, Wake};
use crate::spec::{LevelSpec, Limit};

/// The objects that are in force even where there are none, as if they had just been written.
#[derive(Clone, Debug)]
pub struct Mandatory {
    /// FlowSchemas. One of them matches everybody, and what no other matches goes by the last of them.
    pub schemas: Vec<FlowSchema>,
    /// The levels that these lead to.
    pub levels: Vec<PriorityLevelConfiguration>,
}

/// Priority and fairness of one server.
pub struct Fairness {
    /// All seats of the levels that have a limit.
    total: u32,
    /// What flows are hashed with.
    secret: u64,
    mandatory: Mandatory,
    plan: ArcSwap<Plan>,
    /// One changes the plan at a time.
    changing: Mutex<()>,
}

/// The configuration in force.
#[derive(Default)]
pub(crate) struct Plan {
    /// In the order in which they are looked at.
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) levels: BTreeMap<Arc<str>, Arc<Level>>,
}

/// A FlowSchema.
pub(crate) struct Route {
    precedence: i32,
    rules: Rules,
    distinguisher: Distinguisher,
    uid: String,
    level_uid: String,
    pub(crate) level: Arc<Level>,
    /// Whether flows have different queues.
    is_sharded: bool,
    is_exempt: bool,
    pub(crate) meter: Arc<Meter>,
}

/// What has become of a change.
#[derive(Default)]
pub struct Settled {
    /// Who is to be served now.
    pub woken: Vec<Wake>,
    /// Levels that are not used, and why.
    pub broken: Vec<(String, &'static str)>,
}

/// A request with its level.
pub struct Classified {
    route: Arc<Route>,
    flow: String,
    hash: u64,
}

impl Route {
    fn new(
        spec: &FlowSchemaSpec,
        uid: String,
        wanted: &Wanted,
        level: Arc<Level>,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            precedence: spec.matching_precedence.unwrap_or_default(),
            rules: Rules::new(spec.rules.clone().unwrap_or_default()),
            distinguisher: match spec.distinguisher_method.as_ref().map(|method| method.type_.as_str()) {
                Some("ByUser") => Distinguisher::User,
                Some("ByNamespace") => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            uid,
            level_uid: wanted.uid.clone(),
            level,
            is_sharded: matches!(wanted.spec.limit, Limit::Queue(queuing) if queuing.queues > 1),
            is_exempt: wanted.spec.limit == Limit::None,
            meter,
        }
    }
}

/// A level of the configuration.
struct Wanted {
    spec: LevelSpec,
    uid: String,
}

fn name_of(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

impl Fairness {
    /// A server with so many seats, with the mandatory objects alone. `secret` is a number that nobody knows.
    ///
    /// # Panics
    ///
    /// When there is no mandatory FlowSchema whose level is there: requests would lead nowhere.
    pub fn new(now: Instant, total: u32, secret: u64, mandatory: Mandatory) -> Self {
        let (plan, changing) = Default::default();
        let fairness = Self { total, secret, mandatory, plan, changing };
        drop(fairness.configure(now, &[], &[]));
        assert!(!fairness.plan().routes.is_empty(), "the mandatory FlowSchemas lead to mandatory levels");
        fairness
    }

    pub(crate) fn plan(&self) -> arc_swap::Guard<Arc<Plan>> {
        self.plan.load()
    }

    /// The level of a request, and the flow that it is part of there.
    pub fn classify(&self, asked: &Asked<'_>) -> Classified {
        let plan = self.plan();
        let found = plan.routes.iter().find(|route| route.rules.matches(asked));
        // Nothing is ever in force without the mandatory ones, see `new`.
        let found = found.or_else(|| self.last(&plan)).or(plan.routes.last());
        let route = found.expect("there is a FlowSchema").clone();
        if !route.is_sharded {
            return Classified { route, flow: String::new(), hash: 0 };
        }
        let flow = route.distinguisher.of(asked);
        let mut hasher = DefaultHasher::new();
        (self.secret, &*route.meter.schema, flow).hash(&mut hasher);
        Classified { flow: flow.to_owned(), hash: hasher.finish(), route }
    }

    /// Where what nothing matches goes: users without any of the usual groups.
    fn last<'p>(&self, plan: &'p Plan) -> Option<&'p Arc<Route>> {
        let name = name_of(&self.mandatory.schemas.last()?.metadata);
        plan.routes.iter().find(|route| *route.meter.schema == *name)
    }

    /// Puts a configuration in force. Requests that are known stay where they are; levels that are gone end with the last of
    /// theirs. FlowSchemas whose level is missing are not used.
    pub fn configure(
        &self,
        now: Instant,
        schemas: &[FlowSchema],
        levels: &[PriorityLevelConfiguration],
    ) -> Settled {
        let _changing = self.changing.lock();
        let old = self.plan.load_full();
        let mut settled = Settled::default();
        let wanted = self.wanted(levels, &mut settled.broken);
        let mut levels = BTreeMap::new();
        for (name, wanted) in &wanted {
            let level = old.levels.get(name.as_str()).cloned();
            let level = level.unwrap_or_else(|| Arc::new(Level::new(now, name, wanted.spec)));
            levels.insert(level.name.clone(), level);
        }
        let leaving = old.levels.iter().filter(|(name, _)| !wanted.contains_key(&***name));
        let busy = leaving.filter(|(_, level)| !level.state().queues.is_idle());
        levels.extend(busy.map(|(name, level)| (name.clone(), level.clone())));
        self.bound(&levels, &wanted);
        settled.woken = deal(now, &levels);
        let routes = self.routes(schemas, &wanted, &levels, &old);
        self.plan.store(Arc::new(Plan { routes, levels }));
        settled
    }

    /// The levels that can be used, by name.
    fn wanted(
        &self,
        levels: &[PriorityLevelConfiguration],
        broken: &mut Vec<(String, &'static str)>,
    ) -> HashMap<String, Wanted> {
        let mut wanted = HashMap::new();
        for level in levels.iter().chain(&self.mandatory.levels) {
            let name = name_of(&level.metadata).to_owned();
            match LevelSpec::of(level) {
                _ if wanted.contains_key(&name) => {}
                Ok(spec) => {
                    let uid = level.metadata.uid.clone().unwrap_or_default();
                    wanted.insert(name, Wanted { spec, uid });
                }
                Err(why) => broken.push((name, why)),
            }
        }
        wanted
    }

    /// Computes every level's seats; what is leaving still has its share.
    fn bound(&self, levels: &BTreeMap<Arc<str>, Arc<Level>>, wanted: &HashMap<String, Wanted>) {
        let specs: Vec<(&Level, LevelSpec, bool)> = levels
            .values()
            .map(|level| match wanted.get(&*level.name) {
                Some(wanted) => (&**level, wanted.spec, false),
                None => (&**level, level.state().spec, true),
            })
            .collect();
        let sum = specs.iter().map(|(_, spec, _)| u64::from(spec.share.shares)).sum();
        for (level, spec, is_leaving) in specs {
            level.bound(spec, spec.share.bounds(self.total, sum), is_leaving);
        }
    }

    fn routes(
        &self,
        schemas: &[FlowSchema],
        wanted: &HashMap<String, Wanted>,
        levels: &BTreeMap<Arc<str>, Arc<Level>>,
        old: &Plan,
    ) -> Vec<Arc<Route>> {
        let known: HashMap<(&str, &str), &Arc<Meter>> = old
            .routes
            .iter()
            .map(|route| ((&*route.meter.schema, &*route.meter.level), &route.meter))
            .collect();
        let (mut routes, mut named) = (Vec::new(), HashSet::new());
        for schema in schemas.iter().chain(&self.mandatory.schemas) {
            let (name, Some(spec)) = (name_of(&schema.metadata), &schema.spec) else { continue };
            let level = spec.priority_level_configuration.name.as_str();
            let (Some(wanted), Some(level)) = (wanted.get(level), levels.get(level)) else { continue };
            if named.insert(name) {
                let meter = known.get(&(name, &level.name)).map(|meter| Arc::clone(meter));
                let meter = meter.unwrap_or_else(|| Arc::new(Meter::new(name, level.name.clone())));
                let uid = schema.metadata.uid.clone().unwrap_or_default();
                routes.push(Arc::new(Route::new(spec, uid, wanted, level.clone(), meter)));
            }
        }
        skiff_ordered::sort_by(&mut routes, |a, b| {
            (a.precedence, &a.meter.schema).cmp(&(b.precedence, &b.meter.schema))
        });
        routes
    }

    /// Deals the seats out anew, by what levels needed since it was done before: to be called every ten seconds. Levels that
    /// were leaving and are idle are forgotten.
    #[must_use]
    pub fn adjust(&self, now: Instant) -> Vec<Wake> {
        let _changing = self.changing.lock();
        let old = self.plan.load_full();
        let is_over = |level: &Arc<Level>| {
            let state = level.state();
            state.is_leaving && state.queues.is_idle()
        };
        if !old.levels.values().any(is_over) {
            return deal(now, &old.levels);
        }
        let levels: BTreeMap<_, _> = old
            .levels
            .iter()
            .filter(|(_, level)| !is_over(level))
            .map(|(name, level)| (name.clone(), level.clone()))
            .to_map();
        let stay = |level: &Arc<Level>| {
            let state = level.state();
            (!state.is_leaving)
                .then(|| (level.name.to_string(), Wanted { spec: state.spec, uid: String::new() }))
        };
        self.bound(&levels, &levels.values().filter_map(stay).collect());
        let woken = deal(now, &levels);
        self.plan.store(Arc::new(Plan { routes: old.routes.clone(), levels }));
        woken
    }
}

/// Deals the seats of all levels out among those that have a limit, but for what requests without one use.
fn deal(now: Instant, levels: &BTreeMap<Arc<str>, Arc<Level>>) -> Vec<Wake> {
    let needs: Vec<_> = levels.values().map(|level| (level, level.look(now))).collect();
    let nominal: u64 = needs.iter().map(|(_, need)| u64::from(need.bounds.nominal)).sum();
    let (exempt, limited): (Vec<_>, Vec<_>) = needs.into_iter().partition(|(level, _)| level.is_exempt());
    let mut left = nominal;
    for (level, need) in exempt {
        let used = need.bounds.least.max(need.peak);
        left = left.saturating_sub(u64::from(used));
        // Nobody ever waits there.
        drop(level.give(now, used));
    }
    let seats = u32::try_from(left).unwrap_or(u32::MAX);
    let (levels, needs): (Vec<_>, Vec<_>) = limited.into_iter().unzip();
    levels
        .into_iter()
        .zip(allocate(seats, &needs))
        .flat_map(|(level, seats)| level.give(now, seats))
        .collect()
}

impl Classified {
    /// The UID of the FlowSchema; empty where the object is missing.
    pub fn schema_uid(&self) -> &str {
        &self.route.uid
    }

    /// The UID of the level; empty where the object is missing.
    pub fn level_uid(&self) -> &str {
        &self.route.level_uid
    }

    /// Whether there is no limit.
    pub fn is_exempt(&self) -> bool {
        self.route.is_exempt
    }

    /// The most seats that the request can take.
    pub fn widest(&self) -> u32 {
        self.route.level.widest()
    }

    /// The level, which is told of the request's end.
    pub fn level(&self) -> &Arc<Level> {
        &self.route.level
    }

    /// Asks for seats. Whoever else is given back is to be woken; `wake` is called if the request has to wait.
    #[must_use]
    pub fn enter(
        self,
        now: Instant,
        seats: u32,
        details: Arc<Details>,
        wake: impl FnOnce() -> Wake,
    ) -> (Entered, Vec<Wake>) {
        let Self { route, flow, hash } = self;
        let arrival = Arrival { seats: seats.max(1), hash, flow, meter: route.meter.clone(), details };
        route.level.enter(now, arrival, wake)
    }
}

#[cfg(test)]
#[path = "fairness_tests.rs"]
mod tests;
