//! Writes scenarios down.

use std::path::Path;

use super::compare::mask;
use super::replay::{Replay, Verdict, replay};
use super::scenario::{Expected, Scenario, file, recorded};

/// Plays all scenarios on two fresh clusters of kube-apiserver and keeps what both answer; where their answers differ,
/// `{any}` is kept.
pub fn record(first: &Path, second: &Path) {
    let mut scenarios = recorded();
    let play = |kubeconfig| replay(&Replay { kubeconfig, scenarios: &scenarios, chosen: &|_| true });
    let (first, second) = (play(first), play(second));
    for ((scenario, first), second) in scenarios.iter_mut().zip(&first).zip(&second) {
        let broken = [first, second].into_iter().find_map(|outcome| match &outcome.verdict {
            Verdict::NotServed(why) | Verdict::Broken(why) => Some(why),
            Verdict::Matches | Verdict::Differs(_) => None,
        });
        assert!(broken.is_none(), "{}: {broken:?}", scenario.id);
        for (step, (first, second)) in
            scenario.steps.iter_mut().zip(first.answers.iter().zip(&second.answers))
        {
            assert_eq!(first.code, second.code, "{}: {} {}", scenario.id, step.method, step.path);
            step.expect = Expected {
                code: first.code,
                headers: mask(&first.headers, &second.headers),
                body: mask(&first.body, &second.body),
            };
        }
    }
    write(&scenarios);
}

/// Replaces the recorded scenarios by those of a file with one in JSON on each line.
pub fn pack(lines: &Path) {
    let text = std::fs::read_to_string(lines).unwrap();
    let scenarios: Vec<Scenario> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    write(&scenarios);
}

fn write(scenarios: &[Scenario]) {
    // The highest level; it is packed once and unpacked in every test.
    const LEVEL: i32 = 22;
    let lines: Vec<String> =
        scenarios.iter().map(|scenario| serde_json::to_string(scenario).unwrap() + "\n").collect();
    let text = lines.concat();
    let mut encoder = zstd::Encoder::new(std::fs::File::create(file()).unwrap(), LEVEL).unwrap();
    // The window grows to what is known of the size, and more repeats fall into it.
    encoder.set_pledged_src_size(Some(text.len() as u64)).unwrap();
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap();
}
