//! Which SIG, and which of its composes, a word means: to stage goes by compose, to promote by group.

use super::{NameError, ReleaseView, SigView};

impl ReleaseView<'_> {
    /// Returns a SIG by its own name, with these of its composes, by their short names: the
    /// composes `gluster9` of `storage`.
    ///
    /// # Errors
    /// A name that no SIG has, and a compose that is not of this SIG: each with those that are.
    pub fn sig_composes(&self, name: &str, composes: &[String]) -> Result<SigView, NameError> {
        let mut view = self.sig_group(name)?;
        let known = std::mem::take(&mut view.composes);
        for short in composes {
            match known.iter().find(|(one, _)| one == short) {
                Some(compose) if view.composes.contains(compose) => {}
                Some(compose) => view.composes.push(compose.clone()),
                None => {
                    return Err(NameError::UnknownSigCompose {
                        release: self.name(),
                        sig: view.sig,
                        name: short.clone(),
                        known: known.into_iter().map(|(short, _)| short).collect(),
                    });
                }
            }
        }
        Ok(view)
    }

    /// Returns a SIG by its own name, with all its composes; else by the short name of a compose,
    /// with that one only.
    pub fn sig_group(&self, name: &str) -> Result<SigView, NameError> {
        if !self.sig_names().iter().any(|sig| sig == name) {
            return self.sig(name);
        }
        let of_sig = self.section().sigs.iter().filter(|(_, compose)| compose.sig == name);
        let composes = of_sig.map(|(short, compose)| (short.clone(), compose.project.clone()));
        Ok(self.sig_view(name, composes.collect()))
    }

    /// Returns whether a view has every compose of its SIG.
    pub fn is_whole_sig(&self, view: &SigView) -> bool {
        let of_sig = self.section().sigs.values().filter(|compose| compose.sig == view.sig);
        of_sig.count() == view.composes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const MODEL: &str = include_str!("../../../../docs/cairn.example.toml");

    #[test]
    fn a_group_is_all_its_composes_and_a_compose_only_itself() {
        let text = MODEL.replace(
            "kmod = \"kernel/kmod\"",
            "kmod = \"kernel/kmod\", gluster9 = \"storage/gluster9\", cloud = \"cloud\"",
        );
        let config = Config::parse(&text, Path::new("c.toml")).unwrap();
        let nine = config.release("9").unwrap();
        let shorts = |view: crate::names::SigView| -> Vec<String> {
            view.composes.into_iter().map(|(short, project)| format!("{short}={project}")).collect()
        };
        let group = nine.sig_group("kernel").unwrap();
        assert!(nine.is_whole_sig(&group));
        assert_eq!(shorts(group), ["kernel=kernel", "kmod=kmod"]);
        let kmod = nine.sig_group("kmod").unwrap();
        assert_eq!(kmod.sig, "kernel");
        assert!(!nine.is_whole_sig(&kmod));
        assert_eq!(shorts(kmod), ["kmod=kmod"]);
        assert!(nine.is_whole_sig(&nine.sig_group("gluster9").unwrap()));
        let asked = |sig: &str, composes: &[&str]| {
            let composes: Vec<String> = composes.iter().map(|&text| text.to_owned()).collect();
            nine.sig_composes(sig, &composes).map(shorts).map_err(|error| error.to_string())
        };
        assert_eq!(asked("storage", &["gluster9"]).unwrap(), ["gluster9=gluster9"]);
        assert_eq!(asked("kernel", &["kmod", "kmod"]).unwrap(), ["kmod=kmod"]);
        assert_eq!(asked("cloud", &["cloud"]).unwrap(), ["cloud="]);
        assert_eq!(
            asked("kernel", &["gluster9"]).unwrap_err(),
            "release 9: sig kernel has no compose \"gluster9\"; it has: kernel, kmod"
        );
        assert_eq!(
            asked("kernl", &[]).unwrap_err(),
            "release 9: unknown sig \"kernl\"; known: cloud, gluster9, kernel, kmod, storage"
        );
    }
}
