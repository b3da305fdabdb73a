# Builds a view of the file system in this mount namespace, then becomes a program. The words after
# the scratch folder are steps; "run" ends them. Nothing is ever removed here: live names are hidden
# by the upper layer of an overlay.
set -e
scratch=$1
shift
mount -t tmpfs -o mode=0700 shivx-view "$scratch"
n=0
while [ "$1" != run ]; do
  case $1 in
  cover) # what follows is made in the upper layer of the folder
    n=$((n + 1))
    upper=$scratch/$n/upper
    mkdir -p "$upper" "$scratch/$n/work"
    chown --reference="$2" "$upper"
    chmod --reference="$2" "$upper"
    shift 2
    ;;
  hide) # a device 0/0 is an overlay's word for "no such name"
    mknod "$upper/$2" c 0 0
    shift 2
    ;;
  folder)
    mkdir "$upper/$2"
    shift 2
    ;;
  file)
    : >"$upper/$2"
    shift 2
    ;;
  copy)
    cp -P "$2" "$upper/$3"
    shift 3
    ;;
  mount) # by its relative name: a colon in a path has a meaning in the options
    cd "$2"
    mount -t overlay shivx-view -o "lowerdir=.,upperdir=$upper,workdir=$scratch/$n/work" "$2"
    cd /
    shift 2
    ;;
  bind)
    mount --bind "$2" "$3"
    shift 3
    ;;
  *)
    echo "unknown step $1" >&2
    exit 2
    ;;
  esac
done
shift
exec "$@"
