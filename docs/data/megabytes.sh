#!/usr/bin/env bash
# What each package of docs/neighbours.rst brings beside betahat and what betahat needs: run from the project root,
#   bash docs/data/megabytes.sh > docs/data/megabytes.csv
# It makes a clean environment, installs betahat, then each package in turn, without bytecode, and takes away again what was new.
# Last run: Python 3.11, Linux x86, the versions of constraints.txt.
set -euo pipefail
folder=$(mktemp -d)
python3 -m venv "$folder/env"
pip() { "$folder/env/bin/pip" "$@" --quiet --disable-pip-version-check; }
add() { pip install --no-compile --constraint constraints.txt "$@"; }
size() { du --summarize --block-size=1K --apparent-size "$folder"/env/lib/python3*/site-packages | cut -f1; }
names() { "$folder/env/bin/pip" freeze --disable-pip-version-check | sed 's/[= ].*//' | sort; }
row() { printf '"%s", "%s", "%s"\n' "$1" "$(awk "BEGIN { printf \"%.*f\", ($2 > 0 && $2 < 10240), $2 / 1024 }")" "$3"; }

empty=$(size)
add torch .
names > "$folder/before"
row "betahat and what it needs, with torch for CPUs" $(($(size) - empty)) "$(wc -l < "$folder/before")"
while read -r label packages; do
    before=$(size)
    # shellcheck disable=SC2086
    add $packages
    new=$(comm -13 "$folder/before" <(names))
    row "$label" $(($(size) - before)) "$(wc -w <<< "$new")"
    # shellcheck disable=SC2086
    if [ -n "$new" ]; then pip uninstall --yes $new; fi
done << 'EOF'
statsmodels statsmodels
stargazer stargazer
linearmodels linearmodels
great-tables great-tables
maketables maketables
pyfixest pyfixest
marginaleffects marginaleffects
betahat[effects] within-py
betahat[plot] matplotlib
betahat[files] pyarrow fsspec
betahat[duckdb] pyarrow fsspec duckdb
betahat[documents] pypandoc_binary python-docx
betahat[dask] pyarrow fsspec cloudpickle dask[dataframe,distributed]
betahat[ray] pyarrow fsspec cloudpickle ray[data]
EOF
rm -r "$folder"
