//! From words to a command and what was given to it, with the errors that kubectl's users know.

use crate::error::Error;
use crate::line::command::Command;
use crate::line::flag::{Flag, Takes};
use crate::line::given::{Given, truth};
use crate::line::{duration, help};

/// What the words ask for.
pub(crate) enum Parsed {
    /// That a command does its work.
    Run(&'static Command, Given),
    /// To be told of a command: whether nobody asked for help, but the command is a group.
    Help { command: &'static Command, path: String, asked: bool },
}

/// Finds the command and reads its flags. Those of `root` go with every command.
pub(crate) fn parse(root: &'static Command, words: &[String]) -> Result<Parsed, Error> {
    let (command, path, words) = find(root, words)?;
    let flags = Flags { command, root };
    let Some(given) = read(&flags, path.clone(), &words)? else {
        return Ok(Parsed::Help { command, path, asked: true });
    };
    if command.run.is_none() {
        return match given.words.first() {
            Some(word) => Err(given.misuse(format_args!("unknown command \"{word}\""))),
            None => Ok(Parsed::Help { command, path, asked: false }),
        };
    }
    let missing: Vec<String> = command
        .all_flags()
        .filter(|flag| flag.required && !given.is_given(flag))
        .map(|flag| format!("\"{}\"", flag.long))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Usage(format!("required flag(s) {} not set", missing.join(", "))));
    }
    Ok(Parsed::Run(command, given))
}

type Found = (&'static Command, String, Vec<String>);

/// Goes down the commands that the words name, past flags.
fn find(root: &'static Command, words: &[String]) -> Result<Found, Error> {
    let (mut command, mut path, mut rest) = (root, root.name.to_owned(), words.to_vec());
    let mut at = 0;
    while let Some(word) = rest.get(at) {
        if word == "--" {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            let flags = Flags { command, root };
            let takes_next = !word.contains('=') && flags.of_word(word).is_some_and(|f| f.bare().is_none());
            at += if takes_next { 2 } else { 1 };
            continue;
        }
        let Some(found) = command.command(word) else { break };
        path = format!("{path} {}", found.name);
        command = found;
        rest.remove(at);
    }
    if std::ptr::eq(command, root)
        && let Some(word) = rest.get(at).filter(|word| *word != "--")
    {
        return Err(Error::Usage(unknown(root, word)));
    }
    Ok((command, path, rest))
}

fn unknown(root: &Command, word: &str) -> String {
    let near: Vec<&str> = root
        .commands
        .iter()
        .map(|command| command.name)
        .filter(|name| help::distance(word, name) <= 2 || name.starts_with(&word.to_lowercase()))
        .collect();
    let mut text = format!("unknown command \"{word}\" for \"{}\"", root.name);
    if !near.is_empty() {
        text.push_str(&format!("\n\nDid you mean this?\n\t{}", near.join("\n\t")));
    }
    text
}

/// The flags that a command knows.
struct Flags {
    command: &'static Command,
    root: &'static Command,
}

impl Flags {
    fn all(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.command.all_flags().chain(self.root.all_flags())
    }

    fn long(&self, name: &str) -> Option<&'static Flag> {
        self.all().find(|flag| flag.long == name)
    }

    fn short(&self, name: char) -> Option<&'static Flag> {
        self.all().find(|flag| flag.short == Some(name))
    }

    /// The flag whose value a word could leave to the next one.
    fn of_word(&self, word: &str) -> Option<&'static Flag> {
        match word.strip_prefix("--") {
            Some(name) => self.long(name),
            None => self.short(word.chars().last()?),
        }
    }
}

/// Reads the flags; `None` when one asks for help.
fn read(flags: &Flags, path: String, words: &[String]) -> Result<Option<Given>, Error> {
    let mut given = Given { path, ..Given::default() };
    let mut words = words.iter();
    let failed =
        |given: &Given, text: String| Error::Usage(format!("{text}\nSee '{} --help' for usage.", given.path));
    while let Some(word) = words.next() {
        if word == "--" {
            given.before_dash = Some(given.words.len());
            given.words.extend(words.by_ref().cloned());
        } else if let Some(name) = word.strip_prefix("--") {
            let (name, value) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
            let Some(flag) = flags.long(name) else {
                if name == "help" {
                    return Ok(None);
                }
                return Err(failed(&given, format!("unknown flag: --{name}")));
            };
            let value = value.or_else(|| flag.bare().map(str::to_owned)).or_else(|| words.next().cloned());
            let value = value.ok_or_else(|| failed(&given, format!("flag needs an argument: --{name}")))?;
            put(&mut given, flag, value).map_err(|text| failed(&given, text))?;
        } else if word.len() > 1 && word.starts_with('-') {
            match shorthands(flags, &mut given, &word[1..], &mut words) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(text) => return Err(failed(&given, text)),
            }
        } else {
            given.words.push(word.clone());
        }
    }
    Ok(Some(given))
}

/// Reads `-it`, `-lapp=web`, `-l app=web`; false when one asks for help.
fn shorthands<'a>(
    flags: &Flags,
    given: &mut Given,
    cluster: &str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<bool, String> {
    let mut rest = cluster;
    while let Some(name) = rest.chars().next() {
        rest = &rest[name.len_utf8()..];
        let Some(flag) = flags.short(name) else {
            if name == 'h' {
                return Ok(false);
            }
            return Err(format!("unknown shorthand flag: '{name}' in -{cluster}"));
        };
        if let Some(value) = rest.strip_prefix('=') {
            put(given, flag, value.to_owned())?;
            return Ok(true);
        }
        if let Some(bare) = flag.bare() {
            put(given, flag, bare.to_owned())?;
            continue;
        }
        let value = if rest.is_empty() { words.next().cloned() } else { Some(rest.to_owned()) };
        let value = value.ok_or_else(|| format!("flag needs an argument: '{name}' in -{cluster}"))?;
        put(given, flag, value)?;
        return Ok(true);
    }
    Ok(true)
}

fn put(given: &mut Given, flag: &Flag, value: String) -> Result<(), String> {
    let reason = match flag.takes {
        Takes::Switch if truth(&value).is_none() => {
            Some(format!("strconv.ParseBool: parsing \"{value}\": invalid syntax"))
        }
        Takes::Number => number(&value).err(),
        Takes::Duration => duration_reason(&value),
        _ => None,
    };
    if let Some(reason) = reason {
        let name = match flag.short {
            Some(short) => format!("-{short}, --{}", flag.long),
            None => format!("--{}", flag.long),
        };
        return Err(format!("invalid argument \"{value}\" for \"{name}\" flag: {reason}"));
    }
    given.put(flag, value);
    Ok(())
}

fn number(value: &str) -> Result<i32, String> {
    value.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let what = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing \"{value}\": {what}")
    })
}

fn duration_reason(value: &str) -> Option<String> {
    if duration::parse(value).is_some() {
        return None;
    }
    let bare = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || "+-.".contains(c));
    let what = if bare { "missing unit in duration" } else { "invalid duration" };
    Some(format!("time: {what} \"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Outcome;

    const IMAGE: Flag = Flag::list("image", "").required();
    const REPLICAS: Flag = Flag::number("replicas", "1", "").short('r');
    const DRY: Flag = Flag::optional("dry-run", "unchanged", "").default("none");
    const WAIT: Flag = Flag::switch("wait", "").short('w');
    const NAMESPACE: Flag = Flag::text("namespace", "").short('n');
    const TIMEOUT: Flag = Flag::duration("timeout", "0s", "");
    const MAKE: Command = Command::new("make", "", "")
        .aliases(&["mk"])
        .flags(&[&[IMAGE, REPLICAS, DRY, WAIT, TIMEOUT]])
        .run(|_, _| Box::pin(async { Ok(Outcome::Done) }));
    static ROOT: Command = Command::new("kubectl", "", "")
        .flags(&[&[NAMESPACE]])
        .commands(&[Command::new("do", "", "").commands(&[MAKE])]);

    fn told(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&ROOT, &words) {
            Err(error) => error.to_string(),
            Ok(Parsed::Help { path, asked, .. }) => format!("help of {path}, asked: {asked}"),
            Ok(Parsed::Run(_, given)) => format!(
                "{}: {:?} {:?} image={:?} replicas={} dry-run={} wait={} namespace={}",
                given.path,
                given.words,
                given.before_dash,
                given.all(&IMAGE),
                given.number(&REPLICAS),
                given.text(&DRY),
                given.is_on(&WAIT),
                given.text(&NAMESPACE)
            ),
        }
    }

    #[test]
    fn reads_flags_anywhere() {
        let full = "kubectl do make: [\"x\"] None image=[\"a\", \"b\"] replicas=2 dry-run=client wait=true namespace=n";
        for line in [
            "do make x --image=a --image b -r 2 --dry-run=client -w -n n",
            "-n n do mk --image a,b x -r=2 --dry-run=client --wait=true",
            "--namespace n do make -wr2 --image=a,b --dry-run=client x",
        ] {
            assert_eq!(told(line), full, "{line}");
        }
        assert_eq!(
            told("do make x --image=a --dry-run -- -r y"),
            "kubectl do make: [\"x\", \"-r\", \"y\"] Some(1) image=[\"a\"] replicas=1 dry-run=unchanged wait=false namespace="
        );
    }

    #[test]
    fn says_what_is_wrong_in_kubectls_words() {
        let usage = "\nSee 'kubectl do make --help' for usage.";
        for (line, text) in [
            ("do make --foo", "unknown flag: --foo"),
            ("do make -wx", "unknown shorthand flag: 'x' in -wx"),
            ("do make --replicas", "flag needs an argument: --replicas"),
            ("do make -wr", "flag needs an argument: 'r' in -wr"),
            (
                "do make -r x",
                "invalid argument \"x\" for \"-r, --replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "do make --wait=x",
                "invalid argument \"x\" for \"-w, --wait\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "do make --timeout 5",
                "invalid argument \"5\" for \"--timeout\" flag: time: missing unit in duration \"5\"",
            ),
        ] {
            assert_eq!(told(line), format!("error: {text}{usage}"), "{line}");
        }
        assert_eq!(told("do make x"), "error: required flag(s) \"image\" not set");
        assert_eq!(
            told("do foo"),
            "error: unknown command \"foo\"\nSee 'kubectl do -h' for help and examples"
        );
        assert_eq!(told("dp"), "error: unknown command \"dp\" for \"kubectl\"\n\nDid you mean this?\n\tdo");
        assert_eq!(told("nothing"), "error: unknown command \"nothing\" for \"kubectl\"");
    }

    #[test]
    fn helps_who_asks() {
        assert_eq!(told("do make -h"), "help of kubectl do make, asked: true");
        assert_eq!(told("do --help"), "help of kubectl do, asked: true");
        assert_eq!(told("do"), "help of kubectl do, asked: false");
        assert_eq!(told(""), "help of kubectl, asked: false");
    }
}
