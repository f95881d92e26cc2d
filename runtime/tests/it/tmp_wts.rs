use crate::support::*;
use bytes::Bytes;
use depx_protocol::Status;
use depx_runtime::Volume;
#[test]
fn wts() {
    let mut bad = vec![];
    let mut ok = 0;
    for suite in ["rust", "c", "assemblyscript"] {
        let dir = format!("/tmp/wts/tests/{suite}/testsuite/wasm32-wasip1");
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "wasm"))
            .collect();
        names.sort();
        for p in names {
            let spec = std::fs::read_to_string(p.with_extension("spec")).unwrap();
            let f: Vec<&str> = spec.split('\u{2}').collect();
            let mut g = Guest::of(&std::fs::read(&p).unwrap());
            g.setting.args = f[0].split('\u{1}').filter(|s| !s.is_empty()).map(String::from).collect();
            g.setting.env = f[1]
                .split('\u{1}')
                .filter(|s| !s.is_empty())
                .map(|s| {
                    let (a, b) = s.split_once('=').unwrap();
                    (a.into(), b.into())
                })
                .collect();
            if !f[3].is_empty() {
                let root = std::path::Path::new(&dir).join("fs-tests.dir");
                let mut files = vec![];
                let mut st = vec![root.clone()];
                while let Some(d) = st.pop() {
                    for e in std::fs::read_dir(d).into_iter().flatten() {
                        let q = e.unwrap().path();
                        if q.is_dir() {
                            st.push(q)
                        } else {
                            files.push((
                                q.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
                                Bytes::from(std::fs::read(&q).unwrap()),
                            ))
                        }
                    }
                }
                g.setting.files = Volume::new(files).unwrap();
            }
            let want: u32 = f[2].parse().unwrap();
            let o = g.run();
            let good =
                if want == 0 { o.status == Status::Success } else { o.status == Status::ExitCode && o.code == want };
            let good = good && (f[4].is_empty() || f[4].as_bytes() == o.stdout);
            if good {
                ok += 1
            } else {
                bad.push(format!("{} {:?} {} \n{}", p.display(), o.status, o.code, String::from_utf8_lossy(&o.log)));
            }
        }
    }
    println!("ok {ok}, bad {}\n{}", bad.len(), bad.join("\n---\n"));
    assert!(bad.is_empty());
}
