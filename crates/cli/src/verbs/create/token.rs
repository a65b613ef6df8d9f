//! `create token`.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given, duration};
use crate::print::Format;
use crate::print::objects::{self, PRINT};

const AUDIENCE: Flag =
    Flag::each("audience", "Whom the token is for; the API server when not given; may be repeated");
const DURATION: Flag =
    Flag::duration("duration", "0s", "How long the token is valid; as the server likes when 0");
const KIND: Flag =
    Flag::text("bound-object-kind", "Kind of the object that the token ends with: Node, Pod or Secret");
const NAME: Flag = Flag::text("bound-object-name", "Name of the object that the token ends with");
const UID: Flag = Flag::text("bound-object-uid", "UID of the object that the token ends with");

pub(super) const COMMAND: Command =
    Command::new("token", "SERVICE_ACCOUNT_NAME", "Ask for a token of a ServiceAccount")
        .examples(
            "# A token that is valid for ten minutes
             kubectl create token robot --duration=10m",
        )
        .flags(&[&[AUDIENCE, DURATION, KIND, NAME, UID], PRINT])
        .run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let (name, request) = (given.name()?, request(given)?);
    let format = Format::of(given)?;
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{name}/token", cx.namespace().await?);
    let answer = cx.api().await?.post(&path, &request).await;
    let answer = answer.map_err(|error| error.context("failed to create token: "))?;
    if let Some(format) = format {
        objects::print(&format, &answer, given)?;
        return Ok(Outcome::Done);
    }
    let token = answer["status"]["token"].as_str().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Error::usage("failed to create token: no token in server response"))?;
    let end = if std::io::IsTerminal::is_terminal(&std::io::stdout()) { "\n" } else { "" };
    skiff_print::text(format_args!("{token}{end}"))?;
    Ok(Outcome::Done)
}

fn request(given: &Given) -> Result<Value, Error> {
    const KINDS: [&str; 3] = ["Node", "Pod", "Secret"];
    let nanos = duration::parse(given.text(&DURATION)).unwrap_or_default();
    let (kind, name, uid) = (given.some(&KIND), given.some(&NAME), given.some(&UID));
    let wrong = match kind {
        _ if nanos < 0 => Some("--duration must be greater than or equal to 0".to_owned()),
        _ if nanos % 1_000_000_000 != 0 => {
            Some("--duration cannot be expressed in units less than seconds".to_owned())
        }
        _ if given.all(&AUDIENCE).iter().any(String::is_empty) => {
            Some("--audience must not be an empty string".to_owned())
        }
        None if name.is_some() => {
            Some("--bound-object-name can only be set if --bound-object-kind is provided".to_owned())
        }
        None if uid.is_some() => {
            Some("--bound-object-uid can only be set if --bound-object-kind is provided".to_owned())
        }
        Some(kind) if !KINDS.contains(&kind) => {
            Some(format!("supported --bound-object-kind values are {}", KINDS.join(", ")))
        }
        Some(_) if name.is_none() => {
            Some("--bound-object-name is required if --bound-object-kind is provided".to_owned())
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(Error::Usage(wrong));
    }
    let mut spec = json!({"audiences": given.all(&AUDIENCE)});
    if nanos > 0 {
        spec["expirationSeconds"] = json!(nanos / 1_000_000_000);
    }
    if let Some(kind) = kind {
        spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
    }
    Ok(
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::given;
    use super::request;
    use serde_json::json;

    #[test]
    fn asks_for_what_is_said_and_refuses_what_contradicts() {
        let spec = |line: &str| {
            request(&given(line))
                .map_or_else(|error| error.to_string(), |request| request["spec"].to_string())
        };
        assert_eq!(
            spec("token x --duration=10m --audience=a"),
            json!({"audiences": ["a"], "expirationSeconds": 600}).to_string()
        );
        assert_eq!(
            spec("token x --duration=1ms"),
            "error: --duration cannot be expressed in units less than seconds"
        );
        assert_eq!(
            spec("token x --bound-object-name=p"),
            "error: --bound-object-name can only be set if --bound-object-kind is provided"
        );
        assert_eq!(
            spec("token x --bound-object-kind=Foo --bound-object-name=p"),
            "error: supported --bound-object-kind values are Node, Pod, Secret"
        );
    }
}
