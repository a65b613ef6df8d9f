//! Which file of a crate names items of which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::source::{Names, Source};

/// The files of a crate by their modules.
pub(crate) struct Graph(BTreeMap<Names, Source>);

impl Graph {
    /// Reads the files below a folder, without those of tests.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut open = vec![(folder.to_owned(), Names::new())];
        while let Some((folder, module)) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
                let below = || [module.clone(), vec![stem.clone()]].concat();
                if path.is_dir() {
                    open.push((path, below()));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let is_test = stem.ends_with("tests") || matches!(&*stem, "testing" | "fuzzing");
                    let module = if matches!(&*stem, "lib" | "mod") { module.clone() } else { below() };
                    let text = if is_test { String::new() } else { fs::read_to_string(&path).unwrap() };
                    files.insert(module.clone(), Source::read(module, &text));
                }
            }
        }
        Self(files)
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The files that cannot be put in order, each with those of them that it names.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut left: BTreeMap<&Names, BTreeSet<&Names>> =
            self.0.iter().map(|(module, source)| (module, self.neighbours(source))).collect();
        loop {
            // Whoever names none of the others, or is named by none, is in no circle.
            let named: BTreeSet<&Names> = left.values().flatten().copied().collect();
            let before = left.len();
            left.retain(|module, neighbours| !neighbours.is_empty() && named.contains(module));
            let kept: BTreeSet<&Names> = left.keys().copied().collect();
            left.values_mut().for_each(|neighbours| neighbours.retain(|module| kept.contains(module)));
            if left.len() == before {
                break;
            }
        }
        let name = |module: &Names| if module.is_empty() { "lib".to_owned() } else { module.join("::") };
        let told = left.iter().map(|(module, neighbours)| {
            let neighbours: Vec<String> = neighbours.iter().map(|module| name(module)).collect();
            format!("{} names {}", name(module), neighbours.join(", "))
        });
        told.collect()
    }

    fn neighbours(&self, source: &Source) -> BTreeSet<&Names> {
        let found = source.named.iter().filter_map(|path| self.defining(path, 0));
        found.filter(|module| **module != source.module).collect()
    }

    /// The module whose file defines what a path leads to, wherever it is passed on.
    fn defining(&self, path: &[String], steps: usize) -> Option<&Names> {
        const MOST: usize = 8;
        let depth = (0..=path.len()).rev().find(|depth| self.0.contains_key(&path[..*depth]))?;
        let (module, source) = self.0.get_key_value(&path[..depth])?;
        let Some(item) = path.get(depth).filter(|_| steps < MOST) else { return Some(module) };
        if let Some(elsewhere) = source.imports.get(item) {
            let whole = [&elsewhere[..], &path[depth + 1..]].concat();
            return self.defining(&whole, steps + 1);
        }
        let everything = source.everything.iter().filter_map(|module| self.defining(module, steps + 1));
        let mut defines = everything.filter(|module| self.0[*module].items.contains(item));
        defines.next().or(Some(module))
    }
}
