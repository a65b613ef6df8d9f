//! Bounds beside those of priority and fairness (`crate::fairness`), which Kubernetes does not have: on requests of strangers, on
//! what lasts (of all users and of each), and on the memory of lists. Who finds no place is asked to come back.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use skiff_identity::UserInfo;
use skiff_registry::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;

/// Whose places a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// None: parts of this process, administrators, and questions after the server's health.
    Exempt,
    /// Nodes and the cluster's own parts.
    System,
    /// Whoever has credentials.
    Users,
    /// Who has none.
    Strangers,
}

/// What a request does, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It takes seats until it has been answered.
    Short,
    /// It takes seats while it begins.
    Watch,
    /// It takes no seats: a stream, a log, a proxied request.
    Stream,
}

impl Work {
    fn lasts(self) -> bool {
        self != Self::Short
    }
}

/// Everybody's places.
#[derive(Debug)]
pub(crate) struct Gate {
    strangers: Arc<Semaphore>,
    lasting: Arc<Semaphore>,
    by_user: Arc<Users>,
    system_lasting: Arc<Semaphore>,
    /// In units of [`UNIT`].
    list_memory: Arc<Semaphore>,
    list_units: u32,
}

/// Bytes that one permit for memory stands for.
const UNIT: usize = 1024;

/// How many lasting requests each user has under way; who has none is not listed.
#[derive(Debug)]
struct Users {
    most: usize,
    open: Mutex<HashMap<String, usize>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "held for its end")]
pub(crate) struct Pass {
    permit: Option<OwnedSemaphorePermit>,
    of_user: Option<UsersPlace>,
}

/// One of a user's places.
#[derive(Debug)]
struct UsersPlace {
    users: Arc<Users>,
    name: String,
}

impl Users {
    fn enter(self: &Arc<Self>, name: &str) -> Result<UsersPlace, ApiError> {
        let mut open = self.open.lock();
        let count = open.entry(name.to_owned()).or_default();
        if *count >= self.most {
            return Err(ApiError::TooManyOfUser(self.most));
        }
        *count += 1;
        Ok(UsersPlace { users: self.clone(), name: name.to_owned() })
    }
}

impl Drop for UsersPlace {
    fn drop(&mut self) {
        let mut open = self.users.open.lock();
        if let Some(count) = open.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.name);
            }
        }
    }
}

impl Share {
    /// The share of an authenticated user.
    pub(crate) fn of(user: &UserInfo) -> Self {
        const CONTROL_PLANE: &str = "system:kube-";
        if user.is_in(skiff_identity::MASTERS) {
            Self::Exempt
        } else if user.is_in("system:nodes")
            || user.is_in("system:serviceaccounts:kube-system")
            || user.name.starts_with(CONTROL_PLANE)
        {
            Self::System
        } else if user.is_in(skiff_identity::UNAUTHENTICATED) {
            Self::Strangers
        } else {
            Self::Users
        }
    }
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let list_units = u32::try_from(limits.list_bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self {
            strangers: places(limits.strangers),
            lasting: places(limits.lasting),
            by_user: Arc::new(Users { most: limits.lasting_per_user.max(1), open: Mutex::default() }),
            system_lasting: places(limits.system_lasting),
            list_memory: places(list_units as usize),
            list_units,
        }
    }

    /// A place for a request of a user; 429 when there is none.
    pub(crate) fn enter(&self, share: Share, work: Work, user: &str) -> Result<Pass, ApiError> {
        let places = match share {
            Share::Strangers => &self.strangers,
            Share::System if work.lasts() => &self.system_lasting,
            Share::Users if work.lasts() => &self.lasting,
            _ => return Ok(Pass::default()),
        };
        let of_user = if share == Share::Users { Some(self.by_user.enter(user)?) } else { None };
        let permit = places.clone().try_acquire_owned().map_err(|_| ApiError::TooManyRequests)?;
        Ok(Pass { permit: Some(permit), of_user })
    }

    /// Room for a list of so many bytes; 429 when other lists take it all. What the cluster's own parts read is counted
    /// but not refused.
    pub(crate) fn list(&self, share: Share, bytes: usize) -> Result<Pass, ApiError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.list_units);
        match self.list_memory.clone().try_acquire_many_owned(units) {
            Ok(permit) => Ok(Pass { permit: Some(permit), of_user: None }),
            Err(_) if matches!(share, Share::Exempt | Share::System) => Ok(Pass::default()),
            Err(_) => Err(ApiError::TooManyRequests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(&Limits { strangers: 1, system_lasting: 1, list_bytes: 8192, ..Limits::default() })
    }

    #[test]
    fn each_share_has_its_own_places() {
        let gate = gate();
        let first = gate.enter(Share::Strangers, Work::Short, "u").unwrap();
        assert!(matches!(gate.enter(Share::Strangers, Work::Watch, "u"), Err(ApiError::TooManyRequests)));
        let system = gate.enter(Share::System, Work::Watch, "s").unwrap();
        assert!(gate.enter(Share::System, Work::Stream, "s").is_err());
        let others = [
            (Share::System, Work::Short),
            (Share::Users, Work::Short),
            (Share::Users, Work::Stream),
            (Share::Exempt, Work::Watch),
        ];
        let held: Vec<Pass> = others.map(|(share, work)| gate.enter(share, work, "u").unwrap()).into();
        drop(first);
        gate.enter(Share::Strangers, Work::Short, "u").unwrap();
        drop((held, system));
    }

    #[test]
    fn what_lasts_is_bounded_for_each_user() {
        let gate = Gate::new(&Limits { lasting: 3, lasting_per_user: 2, ..Limits::default() });
        let enter = |user: &str| gate.enter(Share::Users, Work::Watch, user);
        let first = enter("a").unwrap();
        let second = enter("a").unwrap();
        assert!(matches!(enter("a"), Err(ApiError::TooManyOfUser(2))));
        let other = enter("b").unwrap();
        assert!(matches!(enter("b"), Err(ApiError::TooManyRequests)), "there are no more places at all");
        drop(first);
        let again = enter("a").unwrap();
        drop((second, other, again));
        assert!(gate.by_user.open.lock().is_empty());
    }

    #[test]
    fn lists_share_memory_and_one_may_be_larger_alone() {
        let gate = gate();
        let huge = gate.list(Share::Users, 1 << 40).unwrap();
        assert!(gate.list(Share::Users, 1).is_err());
        gate.list(Share::System, 1).unwrap();
        drop(huge);
        let half = gate.list(Share::Users, 4096).unwrap();
        let other = gate.list(Share::Users, 4096).unwrap();
        assert!(gate.list(Share::Users, 1).is_err());
        drop((half, other));
    }

    #[test]
    fn shares_follow_from_who_asks() {
        let user = |name: &str, groups: &[&str]| UserInfo {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        };
        let check = |user: UserInfo, share: Share| assert_eq!(Share::of(&user), share, "{user:?}");
        check(user("admin", &["system:masters"]), Share::Exempt);
        check(UserInfo::node("n"), Share::System);
        check(UserInfo::service_account("kube-system", "coredns"), Share::System);
        check(UserInfo::service_account("default", "default"), Share::Users);
        check(UserInfo::anonymous(), Share::Strangers);
    }
}
