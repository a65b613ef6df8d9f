//! What `--help` tells of a command.

use crate::line::command::Command;
use crate::line::flag::{Flag, Takes};

/// The help of a command; `path` names it with the groups that it is in.
pub(crate) fn text(root: &Command, command: &Command, path: &str) -> String {
    let mut text = format!("{}\n", command.about);
    if !command.aliases.is_empty() {
        text.push_str(&format!("\nAliases:\n{}, {}\n", command.name, command.aliases.join(", ")));
    }
    if !command.examples.is_empty() {
        text.push_str("\nExamples:\n");
        command.examples.trim().lines().for_each(|line| text.push_str(&format!("  {}\n", line.trim())));
    }
    if !command.commands.is_empty() {
        text.push_str("\nAvailable Commands:\n");
        let width = command.commands.iter().map(|sub| sub.name.len()).max().unwrap_or(0);
        for sub in command.commands {
            text.push_str(&format!("  {:<width$}   {}\n", sub.name, sub.about));
        }
    }
    let is_root = std::ptr::eq(root, command);
    options(&mut text, "Options", command.all_flags().filter(|_| !is_root));
    if is_root {
        options(&mut text, "Options of every command", root.all_flags());
    }
    text.push_str(&format!("\nUsage:\n  {path} {}\n", command.usage));
    if !command.commands.is_empty() {
        text.push_str(&format!("\nUse \"{path} COMMAND --help\" for more about a command.\n"));
    } else if !is_root {
        text.push_str(&format!("\n\"{} --help\" names the options of every command.\n", root.name));
    }
    text
}

fn options(text: &mut String, title: &str, flags: impl Iterator<Item = &'static Flag>) {
    let mut flags: Vec<&Flag> = flags.collect();
    if flags.is_empty() {
        return;
    }
    skiff_ordered::sort_by_key(&mut flags, |flag| flag.long);
    text.push_str(&format!("\n{title}:\n"));
    for flag in flags {
        let short = flag.short.map_or(String::new(), |short| format!("-{short}, "));
        let default = match flag.takes {
            Takes::Text | Takes::Optional(_) => format!("'{}'", flag.default),
            Takes::List | Takes::Each => "[]".to_owned(),
            _ => flag.default.to_owned(),
        };
        text.push_str(&format!("    {short}--{}={default}:\n\t{}\n", flag.long, flag.about));
    }
}

/// How many letters must be changed, put in or left out to make one word of the other.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn counts_changes_of_letters() {
        for (left, right, changes) in [("foo", "top", 2), ("get", "get", 0), ("gt", "get", 1), ("", "ab", 2)]
        {
            assert_eq!(distance(left, right), changes, "{left} {right}");
        }
    }
}
