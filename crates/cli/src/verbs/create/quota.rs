//! `create quota`.

use serde_json::{Map, Value, json};
use skiff_quantity::Quantity;

use super::{CREATE, Kind};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const HARD: Flag = Flag::text("hard", "What may be used, e.g. cpu=2,memory=4Gi,pods=10");
const SCOPES: Flag = Flag::text("scopes", "What is counted, e.g. BestEffort,NotTerminating");

pub(super) const COMMAND: Command = Command::new(
    "quota",
    "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2] [--dry-run=server|client|none]",
    "Create a ResourceQuota",
)
.aliases(&["resourcequota"])
.examples("# Ten pods with four processors together\nkubectl create quota small --hard=pods=10,cpu=4")
.flags(&[&[HARD, SCOPES], PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        Kind::namespaced("resourcequotas", "failed to create quota: ").send(cx, given, make(given)?).await
    })
});

fn make(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let mut spec = json!({});
    if let Some(hard) = given.some(&HARD) {
        spec["hard"] = Value::Object(amounts(hard)?);
    }
    if let Some(scopes) = given.some(&SCOPES) {
        let scopes: Vec<&str> = scopes.split(',').collect();
        if scopes.contains(&"") {
            return Err(Error::usage("invalid resource quota scope \"\""));
        }
        spec["scopes"] = json!(scopes);
    }
    Ok(
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec, "status": {}}),
    )
}

/// `cpu=1,memory=2Gi` as amounts by name.
pub(crate) fn amounts(text: &str) -> Result<Map<String, Value>, Error> {
    let mut amounts = Map::new();
    for part in text.split(',') {
        let (name, amount) =
            part.split_once('=').filter(|(_, amount)| !amount.contains('=')).ok_or_else(|| {
                Error::Usage(format!("Invalid argument syntax {part}, expected <resource>=<value>"))
            })?;
        let amount: Quantity = amount.parse().map_err(Error::usage)?;
        amounts.insert(name.to_owned(), json!(amount.to_string()));
    }
    Ok(amounts)
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: v1\nkind: ResourceQuota\nmetadata:\n  name: q\nspec:\n  hard:\n    cpu: \"1\"\n    memory: 1536Mi\n  scopes:\n  - BestEffort\nstatus: {}\n";
        assert_eq!(made("quota q --hard=cpu=1000m,memory=1.5Gi --scopes=BestEffort", make), text);
        assert_eq!(
            made("quota q --hard=x", make),
            "error: Invalid argument syntax x, expected <resource>=<value>"
        );
    }
}
