//! `exec`.

use super::attach::{CONTAINER, QUIET, STDIN, TTY, follow, parameters, pods};
use super::target;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Given};

pub(crate) const COMMAND: Command = Command::new(
    "exec",
    "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
    "Run a command in a container",
)
.examples(
    "# A command, and a shell
             kubectl exec kubia-2q7v7 -- curl -s http://kubia
             kubectl exec -it kubia-2q7v7 -- bash
             # In a pod of a Deployment
             kubectl exec deployment/kubia -- date",
)
.flags(&[&[CONTAINER, STDIN, TTY, QUIET]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let before = given.before_dash.unwrap_or(given.words.len());
    let (Some(word), command) = (given.words.first().filter(|_| before > 0), given.after_dash()) else {
        return Err(Error::usage("pod, type/name or --filename must be specified"));
    };
    if given.before_dash.is_none() && given.words.len() > 1 {
        return Err(Error::usage(
            "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec -h' for help and examples",
        ));
    }
    if command.is_empty() {
        return Err(Error::usage("you must specify at least one command for the container"));
    }
    let pod = target::pod(cx, word).await?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        return Err(Error::Usage(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = target::container(&pod, given.some(&CONTAINER), given.is_on(&QUIET))?;
    let (stdin, mut tty) = (given.is_on(&STDIN), given.is_on(&TTY));
    if tty && stdin && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        skiff_print::note("Unable to use a TTY - input is not a terminal or the right kind of file");
        tty = false;
    }
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let process = pods(cx).await?.exec(name, command, &parameters(stdin, tty, Some(container))).await;
    follow(process.map_err(Error::from)?, stdin && tty).await
}
