/** Why a file or folder could not be written, in words. Knows neither. */

export const DISK_FULL = "the disk is full";

/** null where the machine said something else. */
export function writeTrouble(error: unknown): string | null {
  switch (error instanceof Error && "code" in error ? error.code : null) {
    case "ENOSPC":
    case "EDQUOT":
      return DISK_FULL;
    case "EFBIG":
      return "files may not be as large there";
    case "ENOENT":
      return "there is no such folder and none can be made";
    case "ENOTDIR":
    case "EEXIST":
      return "a file is where a folder is needed";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "it may not be written";
    default:
      return null;
  }
}
