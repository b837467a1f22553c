//! What is remembered, and what is not.

use super::*;

/// Notes which stages begin, and how much they have to do.
#[derive(Default)]
pub(super) struct Watch(std::sync::Mutex<Vec<(String, u64)>>);

impl Observer for Watch {
    fn begin(&self, stage: &str, files: u64, _: u64) {
        self.0.lock().unwrap().push((stage.to_owned(), files));
    }
}

impl Watch {
    pub(super) fn stages(self) -> Vec<(String, u64)> {
        self.0.into_inner().unwrap()
    }
}

#[test]
fn what_was_whole_is_not_read_again_and_a_dry_run_remembers_nothing() {
    let world = World::new();
    let stages = |files: &Files, mode| {
        let watch = Watch::default();
        let draft = Draft::new(&world.site.store);
        let root = world.tree(&draft, files);
        let subject = Subject {
            release: None,
            mount: None,
            observer: &watch,
            ..world.subject(&draft, None, root, mode)
        };
        let reports = run(&subject, &["repodata".to_owned()]).unwrap();
        assert_eq!(reports[0].verdict, Verdict::Passed);
        watch.stages()
    };
    let reading = |repos| ("Reading repodata".to_owned(), repos);
    let hashing = |files| ("Computing SHA-256".to_owned(), files);
    let files = release();
    assert_eq!(stages(&files, Mode::DryRun), [reading(3), hashing(3)]);
    assert_eq!(stages(&files, Mode::Apply), [reading(3), hashing(3)], "nothing was remembered");
    // The kickstart tree depends on another, and is read each time; no package is.
    assert_eq!(stages(&files, Mode::Apply), [reading(1)]);
    // The same repo at another place is the same repo; another byte in it is another.
    let mut files = repos(&[("x", &[VIM])]);
    assert_eq!(stages(&files, Mode::Apply).first(), Some(&reading(1)));
    files.append(&mut repos(&[("y", &[VIM])]));
    assert_eq!(stages(&files, Mode::Apply), [reading(0)]);
    files.insert("x/EULA".into(), b"new".to_vec());
    assert_eq!(stages(&files, Mode::Apply), [reading(1)]);
    // What leads out and back means something else at another place.
    let mut files = Files::from([("z/Packages/vim.rpm".to_owned(), rpm(VIM))]);
    repodata(&mut files, "z", &[(VIM, "../z/Packages/vim.rpm")], &[]);
    for _ in 0..2 {
        assert_eq!(stages(&files, Mode::Apply), [reading(1)]);
    }
}
