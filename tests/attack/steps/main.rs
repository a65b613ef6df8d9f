//! The server, the node agent or a pod's supervisor is killed at each step of rollouts, Jobs and claims: nothing is lost, made twice
//! or left.
//!
//! A step is an event that a watch of the objects concerned tells. Each test plays rounds: a scenario is played from the first
//! object to the end of the last, and somebody is killed at one step. What has been killed is started again at once, or, in the rounds
//! in which the user gives up, after everything was deleted. In the end there is exactly what was asked for, and after the deletion the node has
//! nothing that it did not have before.
//!
//! Which round is played follows from a seed, which is printed; `SKIFF_CHAOS_SEED` plays it again. With `SKIFF_CHAOS_SECONDS` (`./dev chaos` sets
//! it) the steps are walked through from there for so long, for one after the other who may be killed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;
mod remains;
mod round;
mod scenario;
mod watch;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use machine::{Machine, Shape, Victim};
use round::{Shot, Then};
use scenario::Scenario;
use skiff_tests::{Dice, setting};

/// Rounds of a test that nobody told for how long.
const ROUNDS: u64 = 2;

/// What there is to choose from besides the step: who is killed in a cluster of which shape, and what the user does then.
const KINDS: [(Shape, Victim, Then); 10] = [
    (Shape::Together, Victim::Server, Then::GoOn),
    (Shape::Together, Victim::Supervisor, Then::GoOn),
    (Shape::Together, Victim::SupervisorAndAgent, Then::GoOn),
    (Shape::Together, Victim::Server, Then::GiveUp),
    (Shape::Together, Victim::SupervisorAndAgent, Then::GiveUp),
    (Shape::Apart, Victim::Server, Then::GoOn),
    (Shape::Apart, Victim::Agent, Then::GoOn),
    (Shape::Apart, Victim::SupervisorAndAgent, Then::GoOn),
    (Shape::Apart, Victim::Agent, Then::GiveUp),
    (Shape::Apart, Victim::SupervisorAndAgent, Then::GiveUp),
];

/// The round of a seed.
fn round_of(seed: u64) -> (Shape, Shot) {
    let kinds = KINDS.len() as u64;
    let (shape, victim, then) = KINDS[usize::try_from(seed % kinds).unwrap()];
    (shape, Shot { step: seed / kinds + 1, victim, then })
}

fn walk(scenario: Scenario) {
    let kinds = KINDS.len() as u64;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut dice = Dice::new(now.as_nanos().try_into().unwrap_or(u64::MAX));
    let mut seed = setting("SKIFF_CHAOS_SEED").unwrap_or_else(|| dice.below(kinds * scenario.steps()));
    let (shape, _) = round_of(seed);
    let mut machine = Machine::start(shape);
    let end = setting("SKIFF_CHAOS_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut number = 0;
    while end.map_or(number < ROUNDS, |end| Instant::now() < end) {
        number += 1;
        let (shape, shot) = round_of(seed);
        if shape != machine.shape {
            machine.end();
            machine = Machine::start(shape);
        }
        println!("SKIFF_CHAOS_SEED={seed}: {scenario:?}, {shape:?}, {shot:?}");
        let came = round::play(&machine, scenario, number, shot);
        seed = match (end, came) {
            // The same again at another step: with the same processes.
            (None, _) => seed % kinds + kinds * dice.below(scenario.steps()),
            (Some(_), true) => seed + kinds,
            // All steps were walked through.
            (Some(_), false) => (seed + 1) % kinds,
        };
    }
    machine.end();
}

#[test]
fn a_rollout_survives_whoever_is_killed() {
    walk(Scenario::Rollout);
}

#[test]
fn jobs_survive_whoever_is_killed() {
    walk(Scenario::Jobs);
}

#[test]
fn claims_survive_whoever_is_killed() {
    walk(Scenario::Claims);
}
