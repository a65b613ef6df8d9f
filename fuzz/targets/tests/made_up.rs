//! Every decoder with what is in its seeds and what is made of them: the same inputs each time. `./dev fuzz` looks further, led
//! by what the code does.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use skiff_fuzz_targets::TARGETS;

/// How many inputs are made up for each decoder.
const INPUTS: u32 = 20_000;
/// No longer than this, in bytes.
const LONGEST: usize = 8192;

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory().join("seeds").join(name)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The words of the dictionary, without their quotes.
fn dictionary() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(directory().join("json.dict")).unwrap();
    text.lines().map(|line| line.trim_matches('"').as_bytes().to_vec()).collect()
}

/// Some part of `data`, of at most 64 bytes.
fn part(data: &[u8], random: &mut StdRng) -> std::ops::Range<usize> {
    let from = random.random_range(0..=data.len());
    let to = random.random_range(from..=data.len().min(from + 64));
    from..to
}

/// Changes `data` once.
fn change(data: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[Vec<u8>], random: &mut StdRng) {
    let here = part(data, random);
    let there = &seeds[random.random_range(0..seeds.len())];
    let numbers = ["0", "-1", "65536", "2147483648", "9223372036854775807", "1e400", "0.1"];
    let put: Vec<u8> = match random.random_range(0..7) {
        0 => Vec::new(),
        1 => words[random.random_range(0..words.len())].clone(),
        2 => numbers[random.random_range(0..numbers.len())].into(),
        3 => there[part(there, random)].to_vec(),
        4 => data[here.clone()].repeat(2),
        5 => data[here.clone()].iter().map(|byte| byte ^ (1 << random.random_range(0..8))).collect(),
        _ => vec![random.random()],
    };
    data.splice(here, put);
    data.truncate(LONGEST);
}

/// Runs a decoder with all its seeds and what is made of them.
fn try_out(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let (seeds, words) = (seeds(name), dictionary());
    let run = |data: &[u8]| {
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(data)));
        assert!(ended.is_ok(), "{name} does not take {}", data.escape_ascii());
    };
    seeds.iter().for_each(|seed| run(seed));
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..INPUTS {
        let mut data = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..=6) {
            change(&mut data, &seeds, &words, &mut random);
        }
        run(&data);
    }
}

/// A test for each target.
macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { try_out(stringify!($name)); })*

        #[test]
        fn all_are_tried() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

tests! {
    aggregation apply cel dns images issuers netlink objects patches paths protobuf
    pullsecrets requests schemas spdy store tar tokens websocket words yaml
}
