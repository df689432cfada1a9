//! What this machine has of the kernel's modules: read from /sys/module and from depmod's lists.

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;

use crate::lvs::prerequisites::Presence;

/// Longest list that is read; Debian's is 0.7 MiB.
const LIST_LEN_MAX: u64 = 16 * 1024 * 1024;

/// The modules of the running kernel.
#[derive(Debug, Default)]
pub struct Modules {
    /// depmod's lists, read when one is asked for that is not loaded; `None`: there are none of this kernel.
    lists: OnceCell<Option<Lists>>,
}

#[derive(Debug)]
struct Lists {
    /// In the kernel's image.
    builtin: String,
    /// Installed, each with those that it needs.
    installed: String,
}

impl Modules {
    /// What there is of one.
    pub fn presence(&self, name: &str) -> Presence {
        if fs::exists(format!("/sys/module/{name}")).unwrap_or(false) {
            return Presence::Loaded;
        }
        let lists = self.lists.get_or_init(Lists::read);
        lists.as_ref().map_or(Presence::Unknown, |lists| lists.presence(name))
    }
}

impl Lists {
    fn read() -> Option<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let place = PathBuf::from("/lib/modules").join(release);
        let list = |name: &str| {
            let path = place.join(name);
            let short = fs::metadata(&path).is_ok_and(|it| it.len() <= LIST_LEN_MAX);
            short.then(|| fs::read_to_string(path).ok()).flatten()
        };
        let installed = list("modules.dep")?;
        let builtin = list("modules.builtin").unwrap_or_default();
        Some(Self { builtin, installed })
    }

    fn presence(&self, name: &str) -> Presence {
        let file = format!("/{name}.ko");
        if self.builtin.lines().any(|line| line.ends_with(&file)) {
            return Presence::Loaded;
        }
        // `kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: kernel/...`
        let paths = self.installed.lines().filter_map(|line| line.split(':').next());
        let mut files = paths.map(|path| path.rsplit('/').next().unwrap_or(path));
        let installed = files.any(|it| {
            let rest = it.strip_prefix(name).and_then(|rest| rest.strip_prefix(".ko"));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if installed { Presence::Installed } else { Presence::Absent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_in_the_lists_by_its_whole_name() {
        let lists = Lists {
            builtin: "kernel/net/netfilter/ipvs/ip_vs.ko\n".to_owned(),
            installed: "kernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/a/ip_vs_lc.ko\n\
                        kernel/net/netfilter/ipvs/ip_vs_wrr.ko.xz:\n"
                .to_owned(),
        };
        let found = ["ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_r", "ip_vs_lc", "rr"];
        let found = found.map(|name| lists.presence(name));
        use Presence::{Absent, Installed, Loaded};
        assert_eq!(found, [Loaded, Installed, Installed, Absent, Absent, Absent]);
    }
}
