//! Which objects a command is about: by files, by names, or by what they are selected by.

use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::line::{Flag, Given};
use crate::manifest;
use crate::resources::Resource;
use crate::uri::with_query;

pub(crate) const FILENAME: Flag =
    Flag::list("filename", "Files or directories with objects in YAML or JSON; `-` reads standard input")
        .short('f');
pub(crate) const RECURSIVE: Flag =
    Flag::switch("recursive", "Also the directories below a directory of --filename").short('R');
pub(crate) const SELECTOR: Flag =
    Flag::text("selector", "Label selector, e.g. -l app=kubia,tier!=back").short('l');
pub(crate) const FIELD_SELECTOR: Flag =
    Flag::text("field-selector", "Field selector, e.g. status.phase=Running");
pub(crate) const ALL: Flag = Flag::switch("all", "All objects of the type in the namespace");
pub(crate) const ALL_NAMESPACES: Flag = Flag::switch("all-namespaces", "In every namespace").short('A');

/// Flags that name objects by files.
pub(crate) const FILES: &[Flag] = &[FILENAME, RECURSIVE];

/// What the command line says of the objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) words: Vec<String>,
    files: Vec<String>,
    recursive: bool,
    selector: Option<String>,
    fields: Option<String>,
    /// Take all when nothing else is said.
    pub(crate) all: bool,
    everywhere: bool,
    /// Of a file take the object itself, not what the server has in its place.
    pub(crate) local: bool,
}

/// An object of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) resource: Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) object: Value,
}

/// What was found, and what kept others from being found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) items: Vec<Item>,
    pub(crate) errors: Vec<Error>,
}

impl Item {
    pub(crate) fn path(&self) -> String {
        self.resource.path(self.namespace.as_deref(), Some(&self.name))
    }

    fn new(resource: &Resource, namespace: &str, object: Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        let namespace =
            resource.namespaced.then(|| text("namespace").unwrap_or_else(|| namespace.to_owned()));
        Self { resource: resource.clone(), namespace, name: text("name").unwrap_or_default(), object }
    }
}

impl Selection {
    /// Everything that the flags of this module say.
    pub(crate) fn of(given: &Given, words: &[String]) -> Self {
        Self {
            words: words.to_vec(),
            files: given.all(&FILENAME).to_vec(),
            recursive: given.is_on(&RECURSIVE),
            selector: given.some(&SELECTOR).map(str::to_owned),
            fields: given.some(&FIELD_SELECTOR).map(str::to_owned),
            all: given.is_on(&ALL),
            everywhere: given.is_on(&ALL_NAMESPACES),
            local: false,
        }
    }

    /// All objects of the types that are named without names.
    pub(crate) fn or_all(self) -> Self {
        Self { all: true, ..self }
    }

    pub(crate) fn local(self) -> Self {
        Self { local: true, ..self }
    }

    /// Whether nothing was said.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.files.is_empty()
    }

    /// Reads the objects.
    pub(crate) async fn find(&self, cx: &Context) -> Result<Found, Error> {
        if self.is_empty() {
            return Err(Error::usage(MISSING));
        }
        let mut found = Found::default();
        if !self.files.is_empty() {
            if !self.words.is_empty() {
                return Err(Error::usage(
                    "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
                ));
            }
            self.by_files(cx, &mut found).await?;
            return Ok(found);
        }
        if self.all
            && self.selector.is_some()
            && cx.resources().await?.targets(&self.words)?.iter().any(|t| t.name.is_some())
        {
            return Err(Error::usage("name cannot be provided when a selector is specified"));
        }
        for target in cx.resources().await?.targets(&self.words)? {
            let (resource, place) = (&target.resource, self.place(cx).await?);
            match &target.name {
                Some(_) if self.selector.is_some() || self.fields.is_some() => {
                    return Err(Error::usage("name cannot be provided when a selector is specified"));
                }
                Some(name) => match cx.api().await?.get(&resource.path(place, Some(name))).await {
                    Ok(object) => found.items.push(Item::new(resource, place.unwrap_or_default(), object)),
                    Err(error) => found.errors.push(error),
                },
                None if self.all || self.selector.is_some() || self.fields.is_some() => {
                    found.items.extend(self.list(cx, resource).await?);
                }
                None => return Err(Error::usage("resource(s) were provided, but no name was specified")),
            }
        }
        Ok(found)
    }

    /// The namespace to look in; `None` for all.
    async fn place<'a>(&self, cx: &'a Context) -> Result<Option<&'a str>, Error> {
        if self.everywhere { Ok(None) } else { Ok(Some(cx.namespace().await?)) }
    }

    async fn list(&self, cx: &Context, resource: &Resource) -> Result<Vec<Item>, Error> {
        let path = resource.path(self.place(cx).await?, None);
        let query = [("labelSelector", self.selector.as_deref()), ("fieldSelector", self.fields.as_deref())];
        let list = cx.api().await?.get(&with_query(&path, &query)).await?;
        let namespace = cx.namespace().await?;
        let items = list["items"].as_array().into_iter().flatten().map(|item| {
            let mut item = item.clone();
            item["kind"] = Value::from(resource.kind.as_str());
            item["apiVersion"] = Value::from(resource.api_version());
            Item::new(resource, namespace, item)
        });
        Ok(items.collect())
    }

    async fn by_files(&self, cx: &Context, found: &mut Found) -> Result<(), Error> {
        for object in manifest::read_all(&self.files, self.recursive)? {
            let resource = match cx.resources().await?.of_object(&object) {
                Ok(resource) => resource,
                Err(error) => {
                    found.errors.push(error);
                    continue;
                }
            };
            let item = Item::new(resource, namespace_of(cx, resource, &object).await?, object);
            if self.local {
                found.items.push(item);
                continue;
            }
            match cx.api().await?.get(&item.path()).await {
                Ok(object) => found.items.push(Item { object, ..item }),
                Err(error) => found.errors.push(error),
            }
        }
        Ok(())
    }
}

/// Where an object of a file belongs; what it says itself must not contradict the command line.
pub(crate) async fn namespace_of<'a>(
    cx: &'a Context,
    resource: &Resource,
    object: &Value,
) -> Result<&'a str, Error> {
    let said = object["metadata"]["namespace"].as_str().filter(|_| resource.namespaced);
    if let (Some(said), Some(named)) = (said, cx.named_namespace())
        && said != named
    {
        return Err(Error::Usage(format!(
            "the namespace from the provided object \"{said}\" does not match the namespace \"{named}\". You must pass '--namespace={said}' to perform this operation."
        )));
    }
    cx.namespace().await
}

const MISSING: &str = "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'";
