#!/bin/bash
# fetch.sh KIT ARCH…: rust-src that matches `rustc -V`, and musl for each architecture (amd64, arm64, armhf), with apt
# and without touching /etc/apt.
set -euo pipefail
kit=$(realpath -m "$1"); shift
arches=("$@"); [ ${#arches[@]} -gt 0 ] || arches=(amd64)
mkdir -p "$kit"/apt/{lists/partial,cache/archives/partial} "$kit/debs"
# the mirror that this machine's own apt is set up with
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)}
[ -n "$mirror" ] || { echo "no Debian mirror is configured: set DEBIAN_MIRROR" >&2; exit 1; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || { echo "$keys is missing: apt-get install debian-archive-keyring" >&2; exit 1; }
list=$(IFS=,; echo "amd64,${arches[*]}")
cat > "$kit/apt/sources.list" <<S
deb [arch=$list signed-by=$keys] $mirror trixie main
deb [arch=amd64 signed-by=$keys] $mirror trixie-backports main
S
cat > "$kit/apt/apt.conf" <<C
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; "armhf"; };
APT::Sandbox::User "root";
Dir::State::lists "$kit/apt/lists";
Dir::Cache "$kit/apt/cache";
Dir::Etc::sourcelist "$kit/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "5";
Acquire::IndexTargets { deb::DEP-11::DefaultEnabled "false"; deb::DEP-11-icons-small::DefaultEnabled "false"; deb::DEP-11-icons::DefaultEnabled "false"; };
C
export APT_CONFIG="$kit/apt/apt.conf"
apt-get -q update
version=$(rustc -V | cut -d' ' -f2)
package=$(apt-cache madison rust-src | awk -F'|' -v v="$version" '{gsub(/ /,"",$2)} index($2,v"+")==1 {print $2; exit}')
[ -n "$package" ] || { echo "Debian has no rust-src for rustc $version: use 'rustup target add', or a rustc that Debian has the source of" >&2; exit 1; }
wanted=("rust-src=$package")
for arch in "${arches[@]}"; do
  wanted+=("musl-dev:$arch")
  if [ "$arch" = armhf ]; then wanted+=(libgcc-14-dev-armhf-cross); fi
done
( cd "$kit/debs"; apt-get -q download "${wanted[@]}" )
# apt has checked the archive's signature; a version seen before is pinned as well
case $package in
  1.95.0+dfsg1-2~bpo13+1) ( cd "$kit/debs"; echo "7b76db5b880a77f9e52975d2baa6209d2f76d2c9c2789515c3088cb960e2c83b  rust-src_${package}_all.deb" | sha256sum -c ) ;;
esac
rm -rf "$kit/library" "$kit/unpacked"; mkdir -p "$kit/unpacked"
dpkg-deb --fsys-tarfile "$kit"/debs/rust-src_*.deb | tar -x -C "$kit/unpacked" --wildcards './usr/src/rustc-*/library'
mv "$kit"/unpacked/usr/src/rustc-*/library "$kit/library"; rm -rf "$kit/unpacked"
for arch in "${arches[@]}"; do
  mkdir -p "$kit/musl-$arch"
  dpkg-deb --fsys-tarfile "$kit"/debs/musl-dev_*_"$arch".deb | tar -x -C "$kit/musl-$arch" --strip-components=4 --wildcards './usr/lib/*-linux-musl*/*.[oa]'
  if [ "$arch" = armhf ]; then
    dpkg-deb --fsys-tarfile "$kit"/debs/libgcc-14-dev-armhf-cross_*.deb | tar -x -C "$kit" --wildcards '*/libgcc_eh.a' --transform 's#.*/#musl-armhf-#'
  fi
done
rm -rf "$kit/apt" "$kit/debs"
