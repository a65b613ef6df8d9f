//! The difference of two objects as Kubernetes tells it in errors: a unified diff of their JSON, made by the rules of
//! Python's `difflib`, as far as they matter for texts of fewer than 200 lines.

use std::collections::BTreeMap;

/// Lines around a change that are told, too.
const CONTEXT: usize = 3;

/// What became of a part of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    is_equal: bool,
    /// Lines of the old text: first, and behind the last.
    old: (usize, usize),
    /// Lines of the new text.
    new: (usize, usize),
}

/// The difference of two JSON texts without white space, whose fields are in their order.
pub(crate) fn of_json(old: &str, new: &str) -> String {
    let (old, new) = (indented(old), indented(new));
    unified(&old.split('\n').collect::<Vec<_>>(), &new.split('\n').collect::<Vec<_>>())
}

fn unified(old: &[&str], new: &[&str]) -> String {
    let mut out = String::new();
    for group in groups(&steps(old, new)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (old_range, new_range) = (range(first.old.0, last.old.1), range(first.new.0, last.new.1));
        out.push_str(&format!("@@ -{old_range} +{new_range} @@\n"));
        for step in &group {
            let mut tell = |mark: char, lines: &[&str]| {
                for line in lines {
                    out.push_str(&format!("{mark}{line}\n"));
                }
            };
            let (before, after) = (&old[step.old.0..step.old.1], &new[step.new.0..step.new.1]);
            if step.is_equal {
                tell(' ', before);
            } else {
                tell('-', before);
                tell('+', after);
            }
        }
    }
    out
}

/// A range of lines, counted from one.
fn range(from: usize, to: usize) -> String {
    match to - from {
        1 => (from + 1).to_string(),
        0 => format!("{from},0"),
        length => format!("{},{length}", from + 1),
    }
}

/// The changes with the lines around them; those that are near each other together.
fn groups(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut steps = steps.to_vec();
    if let Some(first) = steps.first_mut().filter(|step| step.is_equal) {
        first.old.0 = first.old.0.max(first.old.1.saturating_sub(CONTEXT));
        first.new.0 = first.new.0.max(first.new.1.saturating_sub(CONTEXT));
    }
    if let Some(last) = steps.last_mut().filter(|step| step.is_equal) {
        last.old.1 = last.old.1.min(last.old.0 + CONTEXT);
        last.new.1 = last.new.1.min(last.new.0 + CONTEXT);
    }
    let (mut groups, mut group) = (Vec::new(), Vec::new());
    for mut step in steps {
        if step.is_equal && step.old.1 - step.old.0 > 2 * CONTEXT {
            let head = Step {
                old: (step.old.0, step.old.0 + CONTEXT),
                new: (step.new.0, step.new.0 + CONTEXT),
                ..step
            };
            group.push(head);
            groups.push(std::mem::take(&mut group));
            step.old.0 = step.old.1 - CONTEXT;
            step.new.0 = step.new.1 - CONTEXT;
        }
        group.push(step);
    }
    groups.push(group);
    groups.retain(|group| group.iter().any(|step| !step.is_equal));
    groups
}

fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, line) in new.iter().enumerate() {
        places.entry(line).or_default().push(index);
    }
    let mut blocks = Vec::new();
    let mut open = vec![((0, old.len()), (0, new.len()))];
    while let Some((a, b)) = open.pop() {
        let (i, j, length) = longest(old, &places, a, b);
        if length > 0 {
            blocks.push((i, j, length));
            open.push(((a.0, i), (b.0, j)));
            open.push(((i + length, a.1), (j + length, b.1)));
        }
    }
    blocks.sort_unstable();
    blocks.push((old.len(), new.len(), 0));
    let (mut i, mut j) = (0, 0);
    let mut steps: Vec<Step> = Vec::new();
    for (at, to, length) in blocks {
        if i < at || j < to {
            steps.push(Step { is_equal: false, old: (i, at), new: (j, to) });
        }
        (i, j) = (at + length, to + length);
        match steps.last_mut().filter(|step| step.is_equal && length > 0) {
            Some(step) => (step.old.1, step.new.1) = (i, j),
            None if length > 0 => steps.push(Step { is_equal: true, old: (at, i), new: (to, j) }),
            None => {}
        }
    }
    steps
}

/// The longest run of lines that both ranges have, the first of them: where it begins in each, and its length.
fn longest(
    old: &[&str],
    places: &BTreeMap<&str, Vec<usize>>,
    a: (usize, usize),
    b: (usize, usize),
) -> (usize, usize, usize) {
    let mut best = (a.0, b.0, 0);
    let mut runs: BTreeMap<usize, usize> = BTreeMap::new();
    for (i, line) in old.iter().enumerate().take(a.1).skip(a.0) {
        let mut next = BTreeMap::new();
        for &j in places.get(line).into_iter().flatten().filter(|j| (b.0..b.1).contains(*j)) {
            let length = 1 + j.checked_sub(1).and_then(|before| runs.get(&before)).copied().unwrap_or(0);
            next.insert(j, length);
            if length > best.2 {
                best = (i + 1 - length, j + 1 - length, length);
            }
        }
        runs = next;
    }
    best
}

/// JSON on lines of its own, indented by one space, as Go writes it.
fn indented(json: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut in_text, mut is_escaped) = (0, false, false);
    let mut rest = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth));
    };
    while let Some(c) = rest.next() {
        if in_text {
            out.push(c);
            in_text = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_go_does() {
        let expected = "{\n \"a\": [\n  1,\n  \"x: \\\"[\"\n ],\n \"b\": {},\n \"c\": []\n}";
        assert_eq!(indented(r#"{"a":[1,"x: \"["],"b":{},"c":[]}"#), expected);
    }

    #[test]
    fn changes_are_told_with_the_lines_around_them() {
        let check = |old: &str, new: &str, expected: &str| assert_eq!(of_json(old, new), expected);
        check(r#"{"a":1}"#, r#"{"a":1}"#, "");
        check(
            r#"{"AccessModes":["ReadWriteOnce"],"Selector":null,"Resources":{"Limits":null},"VolumeName":""}"#,
            r#"{"AccessModes":["ReadWriteMany"],"Selector":null,"Resources":{"Limits":null},"VolumeName":""}"#,
            concat!(
                "@@ -1,6 +1,6 @@\n",
                " {\n",
                "  \"AccessModes\": [\n",
                "-  \"ReadWriteOnce\"\n",
                "+  \"ReadWriteMany\"\n",
                "  ],\n",
                "  \"Selector\": null,\n",
                "  \"Resources\": {\n",
            ),
        );
        check(
            r#"{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9}"#,
            r#"{"a":0,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}"#,
            concat!(
                "@@ -1,5 +1,5 @@\n",
                " {\n",
                "- \"a\": 1,\n",
                "+ \"a\": 0,\n",
                "  \"b\": 2,\n",
                "  \"c\": 3,\n",
                "  \"d\": 4,\n",
                "@@ -6,6 +6,5 @@\n",
                "  \"e\": 5,\n",
                "  \"f\": 6,\n",
                "  \"g\": 7,\n",
                "- \"h\": 8,\n",
                "- \"i\": 9\n",
                "+ \"h\": 8\n",
                " }\n",
            ),
        );
    }
}
