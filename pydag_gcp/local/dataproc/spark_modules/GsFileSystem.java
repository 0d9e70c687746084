package pydag;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.net.URLDecoder;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * gs:// over the local cloud's buckets: gs://BUCKET/NAME is the file NAME in the folder BUCKET.
 *
 * A raw file system, because Hadoop's checksummed one leaves .crc files, which would be objects. Object storage
 * knows neither owners nor permissions, so setting them does nothing.
 */
public class GsFileSystem extends RawLocalFileSystem {
    private URI uri;
    private File bucket;
    private File escaped;

    @Override public void initialize(URI name, Configuration conf) throws IOException {
        super.initialize(name, conf);
        this.uri = URI.create("gs://" + name.getAuthority());
        this.bucket = new File(conf.get("fs.gs.pydag.buckets"), name.getAuthority());
        this.escaped = new File(conf.get("fs.gs.pydag.escaped"), name.getAuthority());
        if (!this.bucket.isDirectory()) {
            throw new FileNotFoundException("The specified bucket does not exist: " + this.uri);
        }
    }

    @Override public URI getUri() {
        return this.uri;
    }

    @Override public String getScheme() {
        return "gs";
    }

    @Override protected Path getInitialWorkingDirectory() {
        return null;
    }

    @Override public Path getWorkingDirectory() {
        return new Path(this.uri + "/");
    }

    @Override public void setWorkingDirectory(Path path) {
        throw new UnsupportedOperationException("gs:// has no working directory");
    }

    @Override public Path getHomeDirectory() {
        return this.getWorkingDirectory();
    }

    @Override public File pathToFile(Path path) {
        this.checkPath(path);
        return new File(this.bucket, path.toUri().getPath());
    }

    @Override public FileStatus getFileStatus(Path path) throws IOException {
        File file = this.pathToFile(path);
        if (!file.exists()) {
            throw new FileNotFoundException("No such object: " + this.makeQualified(path));
        }
        long block = this.getDefaultBlockSize(path);
        return new FileStatus(
            file.length(), file.isDirectory(), 1, block, file.lastModified(), this.makeQualified(path));
    }

    @Override public FileStatus getFileLinkStatus(Path path) throws IOException {
        return this.getFileStatus(path);
    }

    @Override public FileStatus[] listStatus(Path path) throws IOException {
        FileStatus status = this.getFileStatus(path);
        this.refuseEscaped(this.escaped, "", path.toUri().getPath().substring(1));
        return status.isDirectory() ? super.listStatus(path) : new FileStatus[] {status};
    }

    /** Objects that no file system can name lie in a tree of their own: better no answer than one without them. */
    private void refuseEscaped(File folder, String head, String listed) throws IOException {
        File[] entries = folder.listFiles();
        if (entries == null) {
            return;
        }
        for (int i = 0; i < entries.length; i++) {
            String text = head + entries[i].getName().substring(1);
            if (entries[i].isDirectory()) {
                this.refuseEscaped(entries[i], text, listed);
                continue;
            }
            String name = URLDecoder.decode(text, "UTF-8");
            boolean inside = listed.isEmpty() || name.startsWith(listed.endsWith("/") ? listed : listed + "/");
            if (inside && !name.endsWith("/")) {
                throw new IOException("The local Spark cannot list an object of this name: " + this.uri + "/" + name);
            }
        }
    }

    @Override public void setPermission(Path path, FsPermission permission) { }

    @Override public void setOwner(Path path, String user, String group) { }
}
